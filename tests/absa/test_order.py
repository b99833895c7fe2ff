"""The sample order: exact, stable, and random enough."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from absa.errors import ConfigError
from absa.order import (
    SampleOrder,
    hash_words,
    integers,
    next_range,
    permutation,
    position_of,
    uniform,
)

_WORD = (1 << 64) - 1


def _splitmix64(state: int) -> int:
    """The published generator, in Python's integers."""
    z = (state + 0x9E3779B97F4A7C15) & _WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)


def test_words_are_splitmix64():
    # The published test vector of splitmix64 for state 0.
    assert _splitmix64(0) == 0xE220A8397B1DCDAF
    start = _splitmix64(9 - 0x9E3779B97F4A7C15)
    steps = [_splitmix64(start + i * 0x9E3779B97F4A7C15) for i in range(4)]
    assert hash_words(9, index=np.arange(4)).tolist() == steps


def test_order_never_changes_between_versions():
    order = SampleOrder(seed=7, num_train=1000)
    assert order.indices(3, 0, 6).tolist() == [86, 716, 133, 577, 366, 911]
    assert [hex(k) for k in order.keys(3, 10, 12)] == ["0xd2cee3f8d95a3d4a", "0xd5d0dddabd2eae81"]
    digest = hashlib.sha256(permutation(7, 3, 1000).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "53a4eaebad94a9c7"


@given(seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 10**6), num_train=st.integers(1, 3000))
def test_every_sample_stands_once_in_an_epoch(seed, epoch, num_train):
    indices = SampleOrder(seed, num_train).indices(epoch, 0, num_train)
    assert indices.dtype == np.int64
    assert np.array_equal(np.sort(indices), np.arange(num_train))


@given(
    num_train=st.integers(1, 500),
    batches=st.lists(st.integers(1, 200), min_size=1, max_size=40),
)
def test_batch_changes_neither_lose_nor_repeat_a_sample(num_train, batches):
    order, samples, seen = SampleOrder(1, num_train), 0, {}
    for batch in batches:
        epoch, start, stop = next_range(samples, batch, num_train)
        assert (epoch, start) == position_of(samples, num_train)
        assert 0 < stop - start <= batch
        assert stop - start == batch or stop == num_train
        seen.setdefault(epoch, []).extend(order.indices(epoch, start, stop).tolist())
        samples += stop - start
    for epoch, indices in seen.items():
        assert indices == order.indices(epoch, 0, len(indices)).tolist()
        assert len(set(indices)) == len(indices)


def test_any_part_of_an_epoch_equals_the_whole():
    order = SampleOrder(5, 100)
    keys = order.keys(2, 0, 100)
    assert np.array_equal(order.keys(2, 30, 47), keys[30:47])
    assert np.array_equal(order.indices(2, 30, 47), order.indices(2, 0, 100)[30:47])
    assert len(order.indices(2, 100, 100)) == len(order.keys(2, 0, 0)) == 0


def test_positions_of_a_sample_are_uniform_over_epochs():
    num_train, epochs = 16, 4000
    counts = np.zeros((num_train, num_train))
    for epoch in range(epochs):
        counts[np.arange(num_train), permutation.__wrapped__(0, epoch, num_train)] += 1
    expected = epochs / num_train
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = (num_train - 1) ** 2
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_neighbours_in_the_data_set_are_not_neighbours_in_the_order():
    steps = np.diff(permutation(0, 0, 20000))
    assert np.mean(np.abs(steps) == 1) < 5 * 2 / 20000
    assert abs(np.corrcoef(np.arange(20000), permutation(0, 0, 20000))[0, 1]) < 5 / np.sqrt(20000)


@pytest.mark.parametrize("stream", [0, 1, 17])
def test_uniform_numbers_fill_the_interval_evenly(stream):
    numbers = uniform(SampleOrder(3, 50000).keys(0, 0, 50000), stream)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=100, range=(0, 1))[0]
    chi_square = ((counts - 500) ** 2 / 500).sum()
    assert abs(chi_square - 99) < 5 * np.sqrt(2 * 99)


def test_bits_of_keys_are_fair_and_independent():
    keys = SampleOrder(3, 20000).keys(1, 0, 20000)
    bits = np.unpackbits(keys.view(np.uint8)).reshape(-1, 64).astype(float)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(20000)
    correlation = np.corrcoef(bits.T) - np.eye(64)
    assert np.abs(correlation).max() < 6 / np.sqrt(20000)


@pytest.mark.parametrize(
    ("one", "other"),
    [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 1), (1, 0)), ((2**63, 5), (0, 5)), ((3, 3), (3, 4))],
)
def test_seeds_and_epochs_give_independent_streams(one, other):
    first, second = (SampleOrder(seed, 20000).keys(epoch, 0, 20000) for seed, epoch in (one, other))
    assert not np.isin(first, second).any()
    assert abs(np.corrcoef(uniform(first, 0), uniform(second, 0))[0, 1]) < 5 / np.sqrt(20000)
    orders = [permutation(seed, epoch, 20000) for seed, epoch in (one, other)]
    assert abs(np.corrcoef(*orders)[0, 1]) < 5 / np.sqrt(20000)


def test_streams_of_a_key_are_independent():
    keys = SampleOrder(3, 20000).keys(0, 0, 20000)
    drawn = np.stack([uniform(keys, stream) for stream in range(4)])
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 5 / np.sqrt(20000)


@pytest.mark.parametrize("bound", [1, 2, 9, 1000])
def test_integers_are_uniform_below_their_bound(bound):
    drawn = integers(SampleOrder(3, 90000).keys(0, 0, 90000), 2, bound)
    assert drawn.dtype == np.int64
    counts = np.bincount(drawn, minlength=bound)
    assert len(counts) == bound
    expected = 90000 / bound
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - (bound - 1)) <= 5 * np.sqrt(2 * (bound - 1))


def test_asking_for_numbers_leaves_the_keys_alone():
    keys = SampleOrder(3, 10).keys(0, 0, 10)
    before = keys.copy()
    uniform(keys, 0)
    integers(keys, 0, 5)
    assert np.array_equal(keys, before)


def test_changing_the_returned_indices_leaves_the_order_alone():
    order = SampleOrder(3, 10)
    order.indices(0, 0, 10)[:] = 0
    assert sorted(order.indices(0, 0, 10)) == list(range(10))


@pytest.mark.parametrize(("seed", "num_train"), [(-1, 10), (2**64, 10), (0, 0)])
def test_impossible_orders_are_refused(seed, num_train):
    with pytest.raises(ConfigError):
        SampleOrder(seed, num_train)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 11)])
def test_positions_outside_the_epoch_are_refused(start, stop):
    with pytest.raises(IndexError):
        SampleOrder(0, 10).indices(0, start, stop)
    with pytest.raises(IndexError):
        SampleOrder(0, 10).keys(0, start, stop)


@pytest.mark.parametrize("bound", [0, 2**31 + 1])
def test_bounds_beyond_the_method_are_refused(bound):
    with pytest.raises(ValueError, match="bound"):
        integers(np.zeros(1, dtype=np.uint64), 0, bound)
