import numpy as np
import pytest
from scipy.optimize import least_squares

from absa.policy.least_squares import solve


def _decay(x):
    """Two parameters, five measurements of a decay, and a prior that keeps them finite."""
    t = np.arange(5.0)
    seen = np.array([2.0, 1.1, 0.7, 0.35, 0.2])
    return np.concatenate(
        [np.exp(x[:, :1]) * np.exp(-np.exp(x[:, 1:]) * t) - seen, 0.01 * x], axis=1
    )


def test_the_minimum_is_that_of_scipy():
    start = np.array([[0.0, 0.0], [1.0, -2.0], [-1.0, 0.5]])
    expected = least_squares(lambda x: _decay(x[None])[0], start[0], xtol=1e-12).x
    for found in solve(_decay, start).x:
        assert found == pytest.approx(expected, rel=1e-5)


def test_a_linear_problem_is_solved_exactly():
    random = np.random.default_rng(0)
    a, b = random.standard_normal((9, 3)), random.standard_normal(9)
    found = solve(lambda x: x @ a.T - b, np.zeros((1, 3)))
    assert found.x[0] == pytest.approx(np.linalg.lstsq(a, b)[0], rel=1e-5)
    assert found.jacobian[0] == pytest.approx(a, abs=1e-6)


def test_rosenbrocks_valley_is_followed_to_its_end():
    def valley(x):
        return np.stack([10 * (x[:, 1] - x[:, 0] ** 2), 1 - x[:, 0]], axis=1)

    assert solve(valley, np.array([[-1.2, 1.0]])).x[0] == pytest.approx([1.0, 1.0], abs=1e-4)


def test_a_step_to_where_nothing_is_finite_is_not_taken():
    def walled(x):
        with np.errstate(invalid="ignore"):
            return np.concatenate([np.sqrt(x) * (x + 3), 0.1 * x], axis=1)

    found = solve(walled, np.array([[4.0]]))
    assert np.isfinite(found.residuals).all()
    assert (found.residuals**2).sum() < (walled(np.array([[4.0]])) ** 2).sum()
