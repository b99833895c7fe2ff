import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy_gradients import Source, Updates, norms_of, train

from absa.errors import CheckpointError, MeasurementError
from absa.noise_scale.average import NoiseAverage, NoiseWindow, as_values, from_values
from absa.noise_scale.groups import Groups
from absa.noise_scale.sample import NormSample

POSITIVE = st.floats(0.01, 100)


def expected(batch, trace, gradient_sq, num_units=None):
    """Return an update whose norms are exactly what they are on average."""
    norm = gradient_sq + trace / batch
    if num_units is None:
        return NormSample(batch, float(batch), (norm,))
    units = (num_units - 1) * trace + batch * norm
    return NormSample(batch, float(batch), (norm,), (units,), float(num_units))


def stepped(window, samples):
    average = NoiseAverage()
    for sample in samples:
        average = window.step(average, sample)
    return average


def two_tensors(generator, cut=(2, 3)):
    return norms_of(generator.normal(0.5, 1, (sum(cut), 6)), cut, tensors=[2, 4])


@given(
    updates=st.lists(
        st.tuples(st.integers(1, 500), POSITIVE, st.booleans()), min_size=1, max_size=20
    ),
    gradient_sq=st.floats(0, 10),
)
@settings(max_examples=50)
def test_neither_a_new_batch_nor_a_drifting_trace_biases_the_gradient(updates, gradient_sq):
    """Batch and trace change at will, as long as they are constant within a block."""
    samples, start = [], 0
    for end, (batch, trace, _) in enumerate(updates, start=1):
        if updates[end - 1][2] or end == len(updates):
            samples += [expected(batch, trace, gradient_sq)] * (end - 1 - start)
            samples.append(expected(batch, trace, gradient_sq, num_units=4))
            start = end
    found = NoiseWindow(samples=1000).scales(stepped(NoiseWindow(samples=1000), samples)).whole
    assert found.gradient_sq == pytest.approx(gradient_sq, abs=1e-9)


def blocks_of(generator, length, own, shared):
    """Return a block: norms that err on their own, and in common with the last one's units."""
    sample = expected(64, 640.0, 1.0, num_units=8)
    updates = [
        replace(sample, units=None, gradient=(sample.gradient[0] + error,))
        for error in generator.normal(0, own, length - 1).tolist()
    ]
    error, both = generator.normal(0, own), shared * generator.normal()
    norm = sample.gradient[0] + error + both / 64
    units = 7 * (640.0 + both) + 64 * norm  # the trace is then 640 + both
    return [*updates, replace(sample, gradient=(norm,), units=(units,))]


@pytest.mark.parametrize(
    ("shared", "better"),
    # Were all norms to count alike, the error of the trace would count too.
    [(0.0, 10.0), (200.0, 1.0)],
)
def test_norms_of_all_updates_count_as_far_as_they_help(shared, better):
    """The variance is that of the last updates alone, or of ten times as many."""
    generator = np.random.default_rng(0)
    samples = [s for _ in range(200) for s in blocks_of(generator, 10, 1.0, shared)]
    window = NoiseWindow(samples=1e12)
    means = stepped(window, samples).rows[0].result()
    assert means.errors.var_gradient_sq == pytest.approx(1 / (200 * better), rel=0.25)
    assert means.gradient_sq == pytest.approx(1, abs=4 / np.sqrt(200 * better))
    assert means.num_updates == pytest.approx(200 * better, rel=0.25)


def test_a_training_set_used_up_in_one_update_has_its_gradient_known():
    window = NoiseWindow(samples=1e3, num_train=64)
    sample = replace(expected(64, 640.0, 1.0, num_units=8), gradient=(1.0,))
    assert stepped(window, [sample]).rows[0].result().gradient_sq == pytest.approx(1.0)


def test_old_updates_fade_by_samples_and_not_by_updates():
    many = stepped(
        NoiseWindow(samples=6400),
        [expected(32, 1.0, 5.0, 4)] * 400 + [expected(32, 1.0, 1.0, 4)] * 200,
    )
    few = stepped(
        NoiseWindow(samples=6400),
        [expected(64, 1.0, 5.0, 4)] * 200 + [expected(64, 1.0, 1.0, 4)] * 100,
    )
    old = (np.exp(-1) - np.exp(-3)) / (1 - np.exp(-3))  # two windows of three, one window ago
    for average in (many, few):
        assert average.rows[0].result().gradient_sq == pytest.approx(1 + 4 * old)


def test_a_window_shorter_than_ten_updates_holds_ten():
    average = stepped(NoiseWindow(samples=1), [expected(64, 1.0, 1.0, 4)] * 200)
    assert average.num_blocks == pytest.approx(20, rel=0.01)


def test_units_are_looked_at_often_at_first_and_after_the_batch_has_grown():
    window, average, due = NoiseWindow(samples=64 * 200), NoiseAverage(), []
    for batch in [64] * 300 + [1024] * 100:
        due.append(window.is_due(average, 10, batch))
        average = window.step(average, expected(batch, 1.0, 1.0, 4 if due[-1] else None))
    assert all(due[:10])
    assert sum(due[200:300]) == 10
    assert sum(due[300:]) > 50
    assert average.rows[0].result().errors.degrees > 5


def test_an_update_that_was_skipped_is_ignored():
    window = NoiseWindow(samples=100)
    average = stepped(window, [expected(8, 1.0, 1.0, 2), expected(8, 1.0, 1.0)])
    for number in (float("nan"), float("inf"), 1e200):
        broken = replace(expected(8, 1.0, 1.0, 2), gradient=(number,))
        assert window.step(average, broken) is average
        assert window.step(average, replace(broken, gradient=(1.0,), units=(number,))) is average
    nothing = NormSample(8, 0.0, (0.0,), (0.0,), 0.0)
    assert window.step(average, nothing) is average


def test_a_single_unit_leaves_the_block_open():
    window = NoiseWindow(samples=100)
    average = stepped(window, [expected(8, 1.0, 1.0, 2), expected(8, 1.0, 1.0, 1)])
    assert average.num_blocks == 1
    assert average.block.num_updates == 1


def test_groups_add_up_to_the_whole():
    generator = np.random.default_rng(0)
    window = NoiseWindow(samples=30, groups=Groups(("a", "b"), (0, 1)))
    scales = window.scales(stepped(window, [two_tensors(generator) for _ in range(9)]))
    assert list(scales.groups) == ["a", "b"]
    for name in ("trace", "gradient_sq"):
        parts = [getattr(scale, name) for scale in scales.groups.values()]
        assert sum(parts) == pytest.approx(getattr(scales.whole, name))


def test_without_updates_nothing_is_known():
    window = NoiseWindow(samples=30, groups=Groups(("a", "b"), (0, 1)))
    scales = window.scales(NoiseAverage())
    for scale in (scales.whole, scales.groups["a"], scales.groups["b"]):
        assert (scale.value, scale.lower, scale.upper) == (None, 0.0, float("inf"))
        assert scale.num_updates == 0


@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_state_comes_back_from_json_to_the_bit_and_goes_on_alike(number):
    generator = np.random.default_rng(0)
    samples = [two_tensors(generator) for _ in range(number)]
    samples = [replace(s, preconditioned=(s.gradient, s.units)) for s in samples]
    samples.append(replace(two_tensors(generator), units=None))
    window = NoiseWindow(samples=30, groups=Groups(("a", "b"), (0, 1)))
    average = stepped(window, samples)
    restored = from_values(json.loads(json.dumps(as_values(average), allow_nan=False)))
    assert restored == average
    last = two_tensors(generator)
    assert window.step(restored, last) == window.step(average, last)


def test_a_state_of_another_form_is_refused():
    with pytest.raises(CheckpointError, match="another version"):
        from_values({"rows": []})


def test_a_state_of_other_groups_is_refused():
    generator = np.random.default_rng(0)
    average = stepped(NoiseWindow(samples=9), [two_tensors(generator)])
    window = NoiseWindow(samples=9, groups=Groups(("a", "b"), (0, 1)))
    with pytest.raises(MeasurementError, match="0 groups, but the window 2"):
        window.scales(average)
    with pytest.raises(MeasurementError, match="begin a new average"):
        window.step(average, two_tensors(generator))


def test_an_empty_window_is_refused():
    with pytest.raises(MeasurementError, match="above 0"):
        NoiseWindow(samples=0)


@pytest.mark.soak
@pytest.mark.parametrize("ratio", [0.1, 1, 10])
def test_across_a_growing_batch_both_means_are_unbiased(ratio):
    source = Source(noise_scale=64 / ratio, dim=10)
    parts = [Updates(150, 64, 4), Updates(30, 512, 8)]
    window = NoiseWindow(samples=64 * 100)
    found = []
    for seed in range(150):
        whole = window.scales(train(source, parts, window, 10, np.random.default_rng(seed))).whole
        found.append((whole.gradient_sq, whole.trace))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(np.mean(found, axis=0) - (1, source.noise_scale)) < 3 * error)
