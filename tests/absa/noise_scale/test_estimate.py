from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy_gradients import norms_of

from absa.errors import MeasurementError
from absa.noise_scale.average import NoiseAverage, NoiseWindow
from absa.noise_scale.estimate import estimate
from absa.noise_scale.sample import NormSample

CUTS = st.lists(st.integers(1, 3), min_size=2, max_size=3).filter(lambda cut: sum(cut) <= 5)


def mean_estimate(samples, num_train=None):
    found = [estimate(sample, num_train) for sample in samples]
    return np.mean([(e.trace, e.gradient_sq) for e in found], axis=0)


@given(cut=CUTS, left_out=st.integers(0, 1), seed=st.integers(0, 99))
@settings(max_examples=8)
def test_over_all_orders_of_a_training_set_both_means_are_exact(cut, left_out, seed):
    size = sum(cut)
    data = np.random.default_rng(seed).normal(1, 2, (size + left_out, 2))
    samples = [norms_of(data[list(o)[:size]], cut) for o in permutations(range(len(data)))]
    trace, gradient_sq = mean_estimate(samples, num_train=len(data))
    assert trace == pytest.approx(data.var(0, ddof=1).sum())
    assert gradient_sq == pytest.approx((data.mean(0) ** 2).sum())


@given(cut=CUTS, seed=st.integers(0, 99))
@settings(max_examples=15)
def test_with_any_weights_the_mean_over_all_signs_of_the_noise_is_exact(cut, seed):
    generator = np.random.default_rng(seed)
    size = sum(cut)
    weights = generator.uniform(0.1, 3, size)
    truth, residual = generator.normal(size=4), generator.normal(size=(size, 4))
    residual *= 1.7 / np.linalg.norm(residual, axis=1, keepdims=True)
    samples = [
        norms_of(truth + residual * np.array(signs)[:, None] / weights[:, None], cut, weights)
        for signs in product((-1, 1), repeat=size)
    ]
    trace, gradient_sq = mean_estimate(samples)
    assert trace == pytest.approx(1.7**2 * (size / weights.sum()) ** 2)
    assert gradient_sq == pytest.approx((truth**2).sum())


def test_single_samples_as_units_give_the_sample_covariance():
    data = np.random.default_rng(0).normal(size=(50, 7))
    found = estimate(norms_of(data, [1] * 50))
    assert found.trace == pytest.approx(np.trace(np.cov(data.T)))


def test_the_scale_of_the_weights_changes_nothing():
    data = np.random.default_rng(0).normal(size=(6, 3))
    weights = np.array([1, 2, 1, 1, 3, 1.0])
    once = estimate(norms_of(data, [2, 4], weights))
    assert estimate(norms_of(data, [2, 4], 1e5 * weights)).trace == pytest.approx(once.trace)


def test_a_batch_of_the_whole_training_set_knows_its_gradient():
    data = np.random.default_rng(0).normal(size=(6, 3))
    found = estimate(norms_of(data, [2, 4]), num_train=6)
    assert found.gradient_sq == pytest.approx((data.mean(0) ** 2).sum(), rel=1e-12)


def test_linear_regression_within_one_percent_over_20_seeds():
    """Weights at 0; x from N(0, I_20), y = sum of x plus noise of 3: |G|^2 = 80, tr = 2400."""
    errors, values = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        x = generator.standard_normal((20_000, 20))
        y = x.sum(1) + 3 * generator.standard_normal(20_000)
        gradients = -2 * y[:, None] * x
        truth = gradients.mean(0) @ gradients.mean(0), gradients.var(0, ddof=1).sum()
        sums = gradients.reshape(-1, 4, 8, 20).sum(2)
        norms = (sums.sum(1) ** 2).sum(-1) / 32**2
        units = (sums**2).sum((1, 2)) / 8
        window, average = NoiseWindow(samples=1e12, num_train=20_000), NoiseAverage()
        for norm, unit in zip(norms.tolist(), units.tolist(), strict=True):
            average = window.step(average, NormSample(32, 32.0, (norm,), (unit,), 4.0))
        found = window.scales(average).whole
        errors.append((found.gradient_sq / truth[0] - 1, found.trace / truth[1] - 1))
        values.append(found.value)
    assert np.abs(np.mean(errors, axis=0)).max() <= 0.01
    assert np.mean(values) == pytest.approx(30, rel=0.01)


def test_one_unit_says_nothing():
    data = np.ones((4, 2))
    assert estimate(norms_of(data, [4])) is None
    assert estimate(replace(norms_of(data, [2, 2]), units=None)) is None


def test_equal_gradients_have_no_noise():
    assert estimate(norms_of(np.full((5, 2), 0.3), [2, 3])).trace == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_samples": 0}, "there must be a sample"),
        ({"weight": -1.0}, "no negative weight"),
        ({"weight": 0.0}, "weigh nothing"),
        ({"weight": float("nan")}, "weigh nothing"),
        ({"num_samples": 9}, "training set of 8"),
        ({"units": (1.0,)}, "norms of 2 tensors"),
        ({"gradient": (1.0, float("inf"))}, "not finite"),
        ({"units": (1.0, float("nan"))}, "not finite"),
    ],
)
def test_impossible_numbers_are_refused(change, says):
    sample = norms_of(np.ones((4, 2)), [2, 2], tensors=[1, 1])
    with pytest.raises(MeasurementError, match=says):
        estimate(replace(sample, **change), num_train=8)
