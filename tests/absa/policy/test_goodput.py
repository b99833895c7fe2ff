import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import ConfigError, MeasurementError
from absa.noise_scale.predict import gain
from absa.policy.goodput import Work, efficiency, efficiency_interval, goodputs
from absa.policy.throughput import Seen, ThroughputModel
from absa.signals import NoiseScale

few = settings(max_examples=40)

_scales = st.floats(0, 1e9)
_batches = st.integers(1, 100_000)


def noise(value, lower, upper):
    return NoiseScale(value, lower, upper, 1.0, 1.0, 0.9, 10.0)


def model(*rows):
    """Seconds of a pass, of a sample, of a sum over workers; nothing else costs anything."""
    seen = Seen((1, 64), (1.0, 4096.0), (1, 64), (True, False), 100, 2)
    parameters = np.array([(a, b, c, 0, c, 0, 0, 1) for a, b, c in rows], float)
    return ThroughputModel(parameters, 1e-9, 1e7, seen, 0.9)


@few
@given(_scales, _batches, _batches)
def test_gain_and_efficiency_are_those_of_pollux(noise_scale, batch, reference):
    variance, sqr, scale = noise_scale / reference, 1.0, batch / reference
    expected = (variance + sqr) / (variance / scale + sqr)
    assert gain(batch, reference, noise_scale) == pytest.approx(expected)
    assert efficiency(noise_scale, batch, reference) == pytest.approx(expected / scale)


@few
@given(_scales, _batches, _batches, st.integers(1, 1000))
def test_a_larger_batch_never_teaches_more_per_sample_nor_less_per_update(b, batch, ref, more):
    assert efficiency(b, batch + more, ref) <= efficiency(b, batch, ref)
    assert gain(batch + more, ref, b) >= gain(batch, ref, b) * (1 - 1e-12)


def test_known_efficiencies():
    assert efficiency(1000.0, 1000, 1) == pytest.approx(0.5, rel=1e-2)
    assert efficiency(0.0, 128, 64) == 0.5
    assert efficiency(math.inf, 10**9, 1) == 1.0
    assert efficiency(7.0, 64, 64) == 1.0


@pytest.mark.parametrize("numbers", [(-1.0, 8, 8), (math.nan, 8, 8), (1.0, 0, 8), (1.0, 8, 0)])
def test_impossible_numbers_are_refused(numbers):
    with pytest.raises(MeasurementError, match="noise scale"):
        efficiency(*numbers)


@few
@given(_scales, st.floats(1, 100), st.floats(1, 100), _batches, _batches)
def test_the_interval_holds_the_efficiency_of_every_noise_scale_in_it(b, f, g, batch, reference):
    found = efficiency_interval(noise(b, b / f, b * g), batch, reference)
    for scale in (b / f, b, b * g):
        assert found.lower <= efficiency(scale, batch, reference) <= found.upper
    assert found.value == efficiency(b, batch, reference)


def test_an_unresolved_noise_scale_counts_as_its_lower_end():
    found = efficiency_interval(noise(None, 100.0, math.inf), 200, 100)
    assert (found.lower, found.value, found.upper) == (200 / 300, 200 / 300, 1.0)


def test_without_a_noise_scale_anything_is_possible():
    found = efficiency_interval(None, 200, 100)
    assert (found.lower, found.value, found.upper) == (0.5, 0.5, 1.0)
    assert efficiency_interval(noise(None, math.inf, math.inf), 200, 100) == found


@pytest.mark.parametrize("damaged", [(math.nan, 100.0, math.nan), (math.inf, 100.0, math.inf)])
def test_a_noise_scale_that_is_not_finite_counts_as_unresolved(damaged):
    found = efficiency_interval(noise(*damaged), 200, 100)
    assert (found.lower, found.value, found.upper) == (200 / 300, 200 / 300, 1.0)


@pytest.mark.parametrize("numbers", [((), 64, 64), ((0,), 64, 64), ((64,), 0, 64)])
def test_work_without_a_batch_is_refused(numbers):
    with pytest.raises(ConfigError, match="there must be a batch"):
        Work(*numbers)


def test_goodput_is_throughput_times_efficiency():
    (row,) = goodputs(model((0, 0.01, 0)), noise(100.0, 50.0, 200.0), Work((200,), 100, 64), [2])
    assert row.update_s.value == pytest.approx(1.0)
    assert row.samples_per_s.value == pytest.approx(200.0)
    assert row.goodput.value == pytest.approx(200 * 200 / 300)
    assert row.goodput.lower == pytest.approx(200 * 150 / 250)
    assert row.goodput.upper == pytest.approx(200 * 300 / 400)
    assert str(row.plan) == "2 x 2 x 50 = 200"


def test_both_uncertainties_are_in_the_goodput():
    rows = [(0, 0.01 * k, 0) for k in (0.5, 1, 2)]
    (row,) = goodputs(model(*rows), noise(100.0, 50.0, 200.0), Work((200,), 100, 64), [2])
    assert row.goodput.lower == pytest.approx(row.samples_per_s.lower * row.efficiency.lower)
    assert row.goodput.upper == pytest.approx(row.samples_per_s.upper * row.efficiency.upper)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0, 1e5])
def test_the_best_batch_is_the_one_that_a_search_finds(scale):
    batches = tuple(64 * 2**k for k in range(8))
    costly = model((0.05, 0.001, 0.1))
    (row,) = goodputs(costly, noise(scale, scale, scale), Work(batches, 64, 256), [4])

    def useful(batch):
        (alone,) = goodputs(costly, noise(scale, scale, scale), Work((batch,), 64, 256), [4])
        return alone.goodput.value

    assert row.plan.global_batch == max(batches, key=useful)


def test_workers_on_several_machines_pay_for_the_slower_network():
    seen = Seen((1, 64), (1.0, 4096.0), (1, 64), (True, True), 100, 2)
    slow = ThroughputModel(np.array([(0, 0.01, 0.1, 0, 0.5, 0, 0, 1)], float), 1e-9, 1e7, seen, 0.9)
    near, far = goodputs(slow, None, Work((64,), 64, 64, None, workers_per_node=2), [2, 4])
    assert near.update_s.value == pytest.approx(0.32 + 0.1)
    assert far.update_s.value == pytest.approx(0.16 + 0.5)
