import math

import numpy as np
import pytest
import torch
from dense_curvature import network_curvature, orthogonal, with_spectrum
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.curvature.band_lanczos import begin, extend
from absa.curvature.bound import largest_cosine, least_squares, smallest_cosine, upper_bound
from absa.curvature.projection import ritz


def grown(operator, vectors, num_products):
    krylov = begin([torch.as_tensor(vector) for vector in vectors])
    for _ in range(num_products):
        if krylov.pending:
            krylov = extend(operator, krylov)
    return krylov


def normal(dim, seed):
    return np.random.default_rng(seed).standard_normal(dim)


@pytest.mark.parametrize("dim", [2, 3, 4, 10, 1000])
@pytest.mark.parametrize("probability", [0.5, 0.05, 0.001])
def test_a_random_cosine_is_smaller_with_at_most_the_stated_probability(dim, probability):
    # The cosine's density is proportional to sin(angle)^(dim - 2), per angle.
    angles = np.linspace(0, math.pi / 2, 200_001)
    density = np.sin(angles) ** (dim - 2)
    below = angles >= math.acos(smallest_cosine(dim, probability))
    true = np.trapezoid(density[below], angles[below]) / np.trapezoid(density, angles)
    assert 0.75 * probability < true <= probability * (1 + 1e-6)


def test_in_one_dimension_every_vector_is_the_eigenvector():
    assert smallest_cosine(1, 0.05) == 1


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.floats(-5, 5), min_size=4, max_size=14),
    st.integers(2, 6),
    st.lists(st.floats(0.01, 20), min_size=1, max_size=3),
)
def test_the_limit_of_the_cosine_is_the_dense_least_squares_residual(spectrum, num, distances):
    operator = with_spectrum(spectrum)
    start = normal(len(spectrum), 1)
    krylov = grown(operator, [normal(len(spectrum), 2), start], num)
    levels = ritz(krylov.projection).values[0] + np.array(distances)
    limits = largest_cosine(krylov.projection, 1, np.array(distances))
    basis, unit = torch.stack(krylov.basis).numpy().T, start / np.linalg.norm(start)
    for level, limit in zip(levels, limits, strict=True):
        shifted = (operator.matrix.numpy() - level * np.eye(len(spectrum))) @ basis
        nearest = np.linalg.lstsq(shifted, unit, rcond=None)[0]
        assert limit == pytest.approx(np.linalg.norm(unit - shifted @ nearest), abs=1e-7)
        found = least_squares(krylov.projection, 1, level)
        assert np.linalg.norm(unit - shifted @ found) == pytest.approx(limit, abs=1e-7)


def test_no_eigenvector_is_nearer_to_the_start_than_the_limit():
    operator = network_curvature()
    values, vectors = np.linalg.eigh(operator.matrix.numpy())
    start = normal(operator.dim, 3)
    cosines = np.abs(vectors.T @ start) / np.linalg.norm(start)
    krylov = begin([operator.gradient, torch.tensor(start)])
    for _ in range(20):
        krylov = extend(operator, krylov)
        distances = values - ritz(krylov.projection).values[0]
        above = distances > 1e-9
        if krylov.projection.holds(1) and above.any():
            limits = largest_cosine(krylov.projection, 1, distances[above])
            assert (cosines[above] <= limits + 1e-9).all()


def test_nothing_is_known_before_the_random_vector_is_multiplied():
    krylov = grown(with_spectrum(range(6)), [normal(6, 1), normal(6, 2)], 1)
    assert upper_bound(krylov.projection, 1, 6, 0.05) == math.inf


def test_a_complete_basis_leaves_nothing_above_its_largest_value():
    krylov = grown(with_spectrum([3.0, 1.0, -4.0]), [normal(3, 1), normal(3, 2)], 3)
    assert upper_bound(krylov.projection, 1, 3, 0.05) == pytest.approx(3.0, abs=1e-12)


def test_the_bound_comes_down_with_every_product_and_reaches_the_eigenvalue():
    operator = network_curvature()
    top = float(np.linalg.eigvalsh(operator.matrix.numpy())[-1])
    krylov, bounds = begin([operator.gradient, torch.tensor(normal(operator.dim, 4))]), []
    for _ in range(24):
        krylov = extend(operator, krylov)
        bounds.append(upper_bound(krylov.projection, 1, operator.dim, 0.05))
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] == pytest.approx(top, rel=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_bound_has_no_scale(scale):
    vectors = [normal(9, 1), normal(9, 2)]
    spectrum = np.linspace(-1, 3, 9)
    one, other = (
        upper_bound(grown(with_spectrum(spectrum * s), vectors, 6).projection, 1, 9, 0.05)
        for s in (1, scale)
    )
    assert other / scale == pytest.approx(one, rel=1e-9)


def test_a_remainder_of_rounding_alone_is_no_obstacle():
    # The second eigenvalue is hidden so well that what is left of its direction is rounding.
    spectrum = [1.0, -4.0, -4.0, -4.0]
    krylov = grown(with_spectrum(spectrum), [orthogonal(4)[:, 0], normal(4, 1)], 3)
    assert upper_bound(krylov.projection, 1, 4, 0.05) == pytest.approx(1.0, abs=1e-9)


def test_a_smaller_failure_probability_gives_a_larger_bound():
    krylov = grown(with_spectrum(range(20)), [normal(20, 1)], 5)
    bounds = [upper_bound(krylov.projection, 0, 20, p) for p in (0.5, 0.05, 0.001)]
    assert bounds == sorted(bounds)


def test_an_eigenvector_that_is_overtaken_is_seen_by_the_bound_before_the_value():
    spectrum = [9.0, 4.0, *np.linspace(-0.5, 0.5, 198)]
    operator = with_spectrum(spectrum)
    krylov = grown(operator, [orthogonal(200)[:, 1], normal(200, 5)], 2)
    assert ritz(krylov.projection).values[0] == pytest.approx(4.0)
    assert upper_bound(krylov.projection, 1, 200, 0.05) > 9


def failures(spectrum, num_trials, failure_probability, num_products, warm):
    """Count the trials in which any of the bounds after each product was below the eigenvalue."""
    operator, top = with_spectrum(spectrum), max(spectrum)
    failed = 0
    for trial in range(num_trials):
        krylov = begin([torch.as_tensor(v) for v in (*warm, normal(len(spectrum), 100 + trial))])
        bounds = []
        while krylov.pending and len(krylov.basis) < num_products:
            krylov = extend(operator, krylov)
            bounds.append(
                upper_bound(krylov.projection, len(warm), len(spectrum), failure_probability)
            )
        failed += min(bounds) < top * (1 - 1e-9)
    return failed


BULK = list(np.linspace(-1, 1, 39))
SPECTRA = {
    "one eigenvalue far above all others": [9.0, *BULK],
    "one just above": [1.2, *BULK],
    "nothing above": [*BULK, 1.0],
    "half of them equal": [2.0] * 20 + [-2.0] * 20,
}


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_all_bounds_of_a_run_fail_together_as_rarely_as_stated(spectrum):
    # 20 % of 20 is 4; 11 or more have a probability below 0.1 %.
    warm = [orthogonal(40)[:, 1]]
    assert failures(spectrum, 20, 0.2, 4, warm) < 11


@pytest.mark.soak
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
@pytest.mark.parametrize("warm", [0, 1, 2])
def test_all_bounds_of_a_run_fail_together_as_rarely_as_stated_in_many_runs(spectrum, warm):
    # 5 % of 1,000 is 50; 75 or more have a probability below 0.1 %.
    known = [orthogonal(40)[:, 1 + i] for i in range(warm)]
    assert failures(spectrum, 1000, 0.05, 8, known) < 75
