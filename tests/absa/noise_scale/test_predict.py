import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import MeasurementError
from absa.noise_scale.predict import (
    Stretch,
    best_learning_rate,
    following_batch,
    gain,
    progress,
    trade_off,
    value_of_following,
)

BATCH = st.floats(1, 1e5)
SCALE = st.floats(0.1, 1e6)
RUN = st.lists(st.builds(Stretch, st.floats(1, 1e4), BATCH, SCALE), min_size=1, max_size=5)


def test_a_batch_of_the_noise_scale_makes_half_the_progress_at_half_the_rate():
    assert progress(128, 128) == 0.5
    assert best_learning_rate(0.8, 128, 128) == 0.4
    assert progress(128, 0) == 1
    assert progress(128, math.inf) == 0


@given(BATCH, SCALE)
@settings(max_examples=40)
def test_progress_is_the_best_decrease_of_a_quadratic(batch, noise):
    """E[decrease] = r |G|^2 - r^2 / 2 (G'HG + tr(H Sigma) / b), with |G|^2 = G'HG = 1."""
    rate = best_learning_rate(1.0, batch, noise)

    def decrease(r):
        return r - r**2 / 2 * (1 + noise / batch)

    assert decrease(rate) == pytest.approx(progress(batch, noise) / 2)
    assert decrease(rate) >= max(decrease(0.9 * rate), decrease(1.1 * rate))


@given(BATCH, BATCH, SCALE)
@settings(max_examples=40)
def test_gain_is_between_one_and_the_ratio_of_batches(batch, reference, noise):
    ratio = batch / reference
    found = gain(batch, reference, noise)
    assert min(1, ratio) * (1 - 1e-9) <= found <= max(1, ratio) * (1 + 1e-9)
    assert found * gain(reference, batch, noise) == pytest.approx(1)


def test_gain_is_adascales():
    """(var + |mu|^2) / (var / S + |mu|^2) with var at the reference batch and S = 512 / 128."""
    assert gain(512, 128, 300) == pytest.approx((300 / 128 + 1) / (300 / 512 + 1))
    assert gain(512, 128, math.inf) == 4
    assert gain(512, 128, 0) == 1


@given(SCALE, BATCH, st.floats(1, 1e4), BATCH)
@settings(max_examples=40)
def test_a_run_at_one_batch_and_noise_scale_predicts_itself(noise, batch, updates, other):
    found = trade_off([Stretch(updates, batch, noise)])
    assert found.critical_batch == pytest.approx(noise)
    assert found.at(batch).updates == pytest.approx(updates)
    assert found.at(batch).samples == pytest.approx(updates * batch)
    cost = found.at(other)
    product = (cost.updates / found.min_updates - 1) * (cost.samples / found.min_samples - 1)
    assert product == pytest.approx(1, rel=1e-4)


@given(RUN)
@settings(max_examples=40)
def test_the_critical_batch_lies_between_the_noise_scales(run):
    found = trade_off(run)
    scales = [s.noise_scale for s in run]
    assert min(scales) * (1 - 1e-9) <= found.critical_batch <= max(scales) * (1 + 1e-9)
    cost = found.at(found.critical_batch)
    assert cost.updates == pytest.approx(2 * found.min_updates)
    assert cost.samples == pytest.approx(2 * found.min_samples)


@given(RUN)
@settings(max_examples=40)
def test_following_the_noise_scale_comes_nearer_unless_it_is_constant(run):
    assert 0 < value_of_following(run) <= 1 + 1e-9
    same = [Stretch(s.num_updates, s.batch, 40.0) for s in run]
    assert value_of_following(same) == pytest.approx(1)


@given(RUN, st.floats(1, 1e5))
@settings(max_examples=40)
def test_following_reaches_what_it_is_said_to(run, samples_per_update):
    least = trade_off(run)
    updates = samples = 0.0
    for s in run:
        done = s.num_updates * progress(s.batch, s.noise_scale)
        batch = following_batch(s.noise_scale, samples_per_update)
        now = done / progress(batch, s.noise_scale)
        updates, samples = updates + now, samples + now * batch
    product = (updates / least.min_updates - 1) * (samples / least.min_samples - 1)
    assert product == pytest.approx(value_of_following(run), rel=1e-4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: progress(0, 1),
        lambda: progress(1, -1),
        lambda: progress(1, math.nan),
        lambda: gain(1, 0, 1),
        lambda: trade_off([]),
        lambda: trade_off([Stretch(1, 1, math.inf)]),
        lambda: trade_off([Stretch(0, 1, 1)]),
        lambda: value_of_following([Stretch(1, 1, 0)]),
        lambda: following_batch(1, 0),
    ],
)
def test_what_predicts_nothing_is_refused(call):
    with pytest.raises(MeasurementError):
        call()
