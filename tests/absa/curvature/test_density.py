"""The distribution of eigenvalues against matrices whose eigenvalues are known."""

import math

import numpy as np
import pytest
import torch
from curvature_problems import make_problem
from dense_operator import DenseOperator, with_eigenvalues
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.curvature.density import GaussRule, SpectralDensity, spectral_density
from absa.curvature.hessian import Hessian
from absa.curvature.random_vectors import normal
from absa.errors import MeasurementError

OUTLIERS = [30.0, 18.0, 11.0, -4.0]
BULK = np.linspace(-0.5, 0.5, 96).tolist()


def moments(rule: GaussRule, num: int) -> list[float]:
    return [float(rule.weights @ rule.nodes**power) for power in range(num)]


def integral(density: SpectralDensity) -> float:
    grid, height = density.curve()
    return float(np.trapezoid(height, grid))


@settings(max_examples=25)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12), st.integers(1, 8), st.integers(0, 9))
def test_a_rule_is_exact_for_polynomials_of_twice_its_degree(values, num_steps, seed):
    operator = with_eigenvalues(values)
    start = normal(operator, seed, 0)
    start /= start.norm()

    (rule,) = spectral_density(operator, 1, num_steps, seed=seed).rules

    vector = start
    for found in moments(rule, 2 * num_steps):
        assert found == pytest.approx(float(start @ vector), abs=1e-10)
        vector = operator.matrix @ vector


def test_the_mean_over_starts_has_the_moments_of_the_spectrum():
    values = np.array([*OUTLIERS, *BULK])
    rules = spectral_density(with_eigenvalues(values.tolist()), 60, 2).rules

    for power in (1, 2):
        found = np.array([moments(rule, 3)[power] for rule in rules])
        error = found.std(ddof=1) / math.sqrt(len(rules))
        assert abs(found.mean() - (values**power).mean()) < 3 * error


def test_shares_have_the_spread_that_their_standard_error_says_and_more_starts_less():
    halves = [*np.linspace(-1.1, -0.9, 12), *np.linspace(0.8, 1.2, 28)]
    operator = with_eigenvalues(halves)

    def shares(num_starts: int) -> tuple[np.ndarray, np.ndarray]:
        densities = (spectral_density(operator, num_starts, 3, seed=s) for s in range(12))
        off, errors = zip(*(density.share_below(0.0) for density in densities), strict=True)
        return np.array(off) - 0.3, np.array(errors)

    (two, _), (eight, errors) = shares(2), shares(8)
    assert np.sqrt(np.mean(eight**2)) < 0.7 * np.sqrt(np.mean(two**2))
    assert np.sqrt(np.mean(eight**2)) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.4)
    # Student's t with 7 degrees of freedom: 95 % lie within 2.36 standard errors.
    assert np.mean(abs(eight) < 2.36 * errors) >= 0.85


def test_largest_and_smallest_eigenvalues_are_found_and_never_exceeded():
    density = spectral_density(with_eigenvalues([*OUTLIERS, *BULK]), 2, 20)

    found = density.largest(3)

    assert [each.value for each in found] == pytest.approx([30, 18, 11], rel=1e-9)
    assert all(each.value <= true + 1e-9 for each, true in zip(found, OUTLIERS, strict=False))
    assert all(each.residual < 1e-3 for each in found)
    assert density.range == pytest.approx((-4, 30), rel=1e-9)
    assert density.num_products == 40


def test_the_curve_integrates_to_one_and_shows_the_smoothed_spectrum():
    """At a width of 1 % error the rule and the eigenvalues themselves draw the same curve."""
    values = [*np.random.default_rng(0).normal(size=300).tolist(), 8.0, 9.0]
    density = spectral_density(with_eigenvalues(values), 16, 12)
    grid, height = density.curve()
    width = density.bandwidth

    gaussians = np.exp(-(((grid[:, None] - np.array(values)) / width) ** 2) / 2)
    smoothed = gaussians.mean(axis=1) / (width * math.sqrt(2 * math.pi))

    assert integral(density) == pytest.approx(1, abs=1e-6)
    peak = smoothed.max()
    assert abs(height - smoothed).max() < 0.08 * peak  # of which sampling by 16 starts is most


@pytest.mark.parametrize("outliers", [[], [30.0, 9.0, 4.0], [-20.0, 2.0, 40.0]])
def test_a_gaussian_of_the_bandwidth_is_integrated_to_one_percent(outliers):
    """The bound behind the bandwidth, for the start at hand and Gaussians all along the bulk."""
    operator = with_eigenvalues([*np.linspace(-1, 1, 300), *outliers])
    values, vectors = torch.linalg.eigh(operator.matrix)
    density = spectral_density(operator, 1, 18)
    start = normal(operator, 0, 0)
    seen = ((vectors.T @ start) / start.norm()).square().numpy()
    (rule,) = density.rules

    for centre in np.linspace(-1, 1, 21):

        def bump(nodes, centre=centre):
            return np.exp(-(((nodes - centre) / density.bandwidth) ** 2) / 2)

        assert abs(rule.weights @ bump(rule.nodes) - seen @ bump(values.numpy())) < 0.01


def test_outliers_do_not_make_the_bulk_coarse():
    bulk = np.linspace(-1, 1, 300)
    alone, beside = (
        spectral_density(with_eigenvalues([*bulk, *outliers]), 1, 20)
        for outliers in ([], [-50.0, 30.0, 100.0])
    )

    assert beside.range == pytest.approx((-50, 100))
    assert beside.bulk == pytest.approx((-1, 1), abs=0.05)
    assert beside.bandwidth < 1.5 * alone.bandwidth
    assert integral(beside) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("size", [1, 5])
def test_a_multiple_of_the_identity_is_one_peak(level, size):
    density = spectral_density(DenseOperator(level * torch.eye(size, dtype=torch.float64)), 2, 10)

    assert [rule.nodes.tolist() for rule in density.rules] == [[pytest.approx(level)]] * 2
    assert [each.value for each in density.largest(4)] == [pytest.approx(level)]
    assert integral(density) == pytest.approx(1, abs=1e-6)
    grid, height = density.curve()
    assert grid[height.argmax()] == pytest.approx(level, abs=density.bandwidth)


def test_more_steps_than_eigenvalues_find_all_of_them():
    values = [-2.0, 0.0, 1.0, 5.0]
    density = spectral_density(with_eigenvalues(values), 3, 50)

    assert all(rule.nodes.tolist() == pytest.approx(values, abs=1e-9) for rule in density.rules)
    assert density.num_products == 12


def test_one_start_has_no_standard_error():
    assert math.isnan(spectral_density(with_eigenvalues(OUTLIERS), 1, 3).share_below(0)[1])


def test_starts_are_those_of_the_seed_and_never_of_the_training():
    operator, before = with_eigenvalues(BULK), torch.get_rng_state()

    nodes = [spectral_density(operator, 1, 3, seed=s).rules[0].nodes.tolist() for s in (1, 1, 2)]

    assert torch.equal(torch.get_rng_state(), before)
    assert nodes[0] == nodes[1] != nodes[2]


def test_the_hessian_of_a_network_has_the_trace_of_its_dense_one():
    problem = make_problem()
    with Hessian(problem) as operator:
        dense = torch.stack([operator.product(row) for row in torch.eye(operator.dim).double()])
        density = spectral_density(operator, 4, operator.dim)

    eigenvalues = torch.linalg.eigvalsh(dense)
    assert density.range == pytest.approx((float(eigenvalues[0]), float(eigenvalues[-1])))
    found = np.array([moments(rule, 2)[1] for rule in density.rules]) * operator.dim
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert abs(found.mean() - float(eigenvalues.sum())) < 3 * error


@pytest.mark.parametrize(("num_starts", "num_steps"), [(0, 5), (1, 0), (-1, 5)])
def test_nothing_is_no_density(num_starts, num_steps):
    with pytest.raises(MeasurementError, match="at least 1"):
        spectral_density(with_eigenvalues(BULK), num_starts, num_steps)


def test_what_is_not_finite_is_no_density():
    with pytest.raises(MeasurementError, match="not finite"):
        spectral_density(DenseOperator(torch.full((3, 3), math.nan, dtype=torch.float64)), 1, 3)
