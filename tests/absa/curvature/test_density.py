import math

import numpy as np
import pytest
import torch
from dense_curvature import DenseCurvature, network_curvature, with_spectrum
from thread_ranks import on_ranks

from absa.curvature.density import SpectralDensity, spectral_density
from absa.errors import MeasurementError


def dense(spectrum, width, grid):
    bumps = np.exp(-(((grid[:, None] - np.asarray(spectrum)) / width) ** 2) / 2)
    return bumps.mean(axis=1) / (width * math.sqrt(2 * math.pi))


def test_the_curve_is_the_dense_spectrum_smoothed_alike():
    spectrum = np.concatenate([[9.0, 4.0], np.random.default_rng(0).normal(0, 0.5, 398)])
    found = spectral_density(with_spectrum(spectrum), num_starts=5, num_steps=14)
    grid, density = found.curve()
    expected = dense(spectrum, found.bandwidth, grid)
    # L1 distance of densities, at most 2: sampling by 5 starts of 400 dimensions.
    assert np.trapezoid(np.abs(density - expected), grid) < 0.08


def test_one_start_sees_its_own_distribution_to_the_promised_exactness():
    operator = DenseCurvature(torch.diag(torch.linspace(-1, 1, 40, dtype=torch.float64)))
    found = spectral_density(operator, num_starts=1, num_steps=10, seed=3)
    all_steps = spectral_density(operator, num_starts=1, num_steps=40, seed=3)
    width = found.bandwidth
    for centre in np.linspace(-1, 1, 21):
        seen, true = (
            float((rule.weights * np.exp(-(((rule.nodes - centre) / width) ** 2) / 2)).sum())
            for rule in (found, all_steps)
        )
        assert abs(seen - true) < 0.01


def test_the_bandwidth_falls_with_the_steps():
    operator = with_spectrum(np.linspace(-1, 1, 60))
    widths = [spectral_density(operator, 1, steps).bandwidth for steps in (5, 10, 20)]
    assert widths[0] / widths[1] == pytest.approx(19 / 9, rel=0.1)
    assert widths[1] / widths[2] == pytest.approx(39 / 19, rel=0.1)


@pytest.mark.parametrize("steps", [2, 20])
def test_the_density_integrates_to_one(steps):
    grid, density = spectral_density(network_curvature(), 2, steps).curve()
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-6)
    assert (density >= 0).all()


def test_all_steps_give_the_eigenvalues_themselves():
    spectrum = [7.0, 3.0, 1.0, -1.0, -2.0]
    found = spectral_density(with_spectrum(spectrum), 2, 5)
    np.testing.assert_allclose(found.nodes, [sorted(spectrum)] * 2, atol=1e-12)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    assert (found.dim, found.num_products) == (5, 10)


def test_a_start_that_ends_early_is_filled_up_without_weight():
    found = SpectralDensity(np.array([[0.0, 1.0, 1.0]]), np.array([[0.4, 0.6, 0.0]]), 10, 2)
    assert found.num_above(0.5)[0] == 6
    assert spectral_density(with_spectrum([2.0, 2.0, 1.0]), 2, 9).nodes.shape == (2, 2)


def test_eigenvalues_are_counted():
    spectrum = [9.0] * 20 + [0.0] * 60 + [-1.0] * 20
    mean, error = spectral_density(with_spectrum(spectrum), 12, 3).num_above(4.5)
    assert abs(mean - 20) < 3 * error < 10
    assert math.isnan(spectral_density(with_spectrum(spectrum), 1, 3).num_above(4.5)[1])


def test_found_eigenvalues_do_not_come_up_again():
    spectrum = [100.0, *np.linspace(-0.1, 0.1, 29)]
    found = spectral_density(with_spectrum(spectrum, dtype=torch.float32), 1, 25)
    assert (found.nodes > 50).sum() == 1


def test_eigenvalues_that_are_all_the_same_have_no_density():
    found = spectral_density(DenseCurvature(torch.zeros(4, 4)), 2, 3)
    assert found.nodes.tolist() == [[0.0], [0.0]]
    with pytest.raises(MeasurementError, match=r"all eigenvalues are 0\.0"):
        found.curve()


def test_ranks_return_the_numbers_of_the_first():
    matrix = network_curvature().matrix
    rules = on_ranks(
        2,
        lambda rank: spectral_density(
            DenseCurvature(matrix * (1 + rank.rank)), 1, 4, collective=rank
        ),
    )
    np.testing.assert_array_equal(rules[0].nodes, rules[1].nodes)
    np.testing.assert_array_equal(rules[0].weights, rules[1].weights)


@pytest.mark.parametrize(("starts", "steps"), [(0, 5), (2, 1)])
def test_too_few_starts_or_steps_are_refused(starts, steps):
    with pytest.raises(MeasurementError, match=f"{starts} starts of {steps} steps"):
        spectral_density(network_curvature(), starts, steps)


def test_a_product_that_is_not_finite_is_no_density():
    with pytest.raises(MeasurementError, match="not finite"):
        spectral_density(DenseCurvature(torch.full((3, 3), math.inf)), 1, 2)
