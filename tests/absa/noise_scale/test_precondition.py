import numpy as np
import pytest
from noisy_gradients import norms_of

from absa.errors import MeasurementError
from absa.noise_scale.average import NoiseAverage, NoiseWindow
from absa.noise_scale.precondition import scaled_by_tensor


def scales(factors, number=20):
    generator = np.random.default_rng(0)
    window, average = NoiseWindow(samples=1e6), NoiseAverage()
    for _ in range(number):
        gradients = generator.normal(1, 1, (8, 6))
        average = window.step(
            average, scaled_by_tensor(norms_of(gradients, [3, 5], tensors=[2, 4]), factors)
        )
    return window.scales(average)


def test_one_factor_for_all_tensors_changes_nothing():
    found = scales((7.0, 7.0))
    assert found.preconditioned.value == pytest.approx(found.whole.value)
    assert found.preconditioned.lower == pytest.approx(found.whole.lower)
    assert found.preconditioned.trace == pytest.approx(49 * found.whole.trace)


def test_norms_are_those_of_gradients_times_the_factors():
    gradients = np.random.default_rng(0).normal(1, 1, (8, 6))
    found = scaled_by_tensor(norms_of(gradients, [3, 5], tensors=[2, 4]), (2.0, 0.5))
    wanted = norms_of(gradients * [2, 2, 0.5, 0.5, 0.5, 0.5], [3, 5], tensors=[2, 4])
    assert found.preconditioned[0] == pytest.approx(wanted.gradient)
    assert found.preconditioned[1] == pytest.approx(wanted.units)


def test_an_update_without_units_stays_as_it_is():
    sample = norms_of(np.ones((4, 2)), [4])
    bare = type(sample)(4, 4.0, sample.gradient)
    assert scaled_by_tensor(bare, (1.0,)) is bare


def test_one_factor_per_tensor_is_demanded():
    with pytest.raises(MeasurementError, match="3 factors for 1 tensors"):
        scaled_by_tensor(norms_of(np.ones((4, 2)), [2, 2]), (1.0, 2.0, 3.0))
