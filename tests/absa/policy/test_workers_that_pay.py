import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import ConfigError
from absa.policy.goodput import Work, goodputs
from absa.policy.throughput import Seen, ThroughputModel
from absa.policy.workers_that_pay import WorkerLimits, candidates, workers_that_pay
from absa.signals import NoiseScale

_costs = st.tuples(st.floats(0, 0.1), st.floats(1e-4, 0.1), st.floats(0, 2), st.floats(0, 0.2))
_limits = st.builds(
    lambda low, more, floor: WorkerLimits(low, low + more, floor),
    st.integers(1, 4), st.integers(0, 20), st.floats(0.05, 1),
)  # fmt: skip

few = settings(max_examples=25)


def model(*rows):
    """Seconds of a pass, of a sample, of a sum over workers, of each worker beyond two in it."""
    seen = Seen((1, 64), (1.0, 4096.0), (1, 64), (True, False), 100, 2)
    parameters = np.array([(a, b, c, d, c, d, 0, 1) for a, b, c, d in rows], float)
    return ThroughputModel(parameters, 1e-9, 1e7, seen, 0.9)


def work(batch=256, bn_group=32):
    return Work((batch,), batch, max(64, bn_group or 1), bn_group)


def pick(costs, limits, asked=None, current=None):
    return workers_that_pay(model(costs), None, asked or work(), limits, current)


def achieved(costs, workers, asked=None):
    rows = goodputs(model(costs), None, asked or work(), workers)
    return [row.goodput.value for row in rows]


@few
@given(_costs, _limits, st.sampled_from([8, 32, None]))
def test_the_pick_is_worth_most_of_all_numbers_that_are_allowed(costs, limits, bn_group):
    asked = work(bn_group=bn_group)
    numbers = range(limits.min, limits.max + 1)
    single = achieved(costs, [1], asked)[0]
    worth = [
        good - limits.floor * single * num
        for num, good in zip(numbers, achieved(costs, numbers, asked), strict=True)
    ]
    found = pick(costs, limits, asked)
    assert limits.min <= found.pays <= limits.max
    assert worth[found.pays - limits.min] == pytest.approx(max(worth), abs=1e-9 * single)


@few
@given(_costs, _limits)
def test_up_to_the_pick_workers_add_the_floor_and_beyond_it_less(costs, limits):
    found = pick(costs, limits)
    single = achieved(costs, [1])[0]
    numbers = range(limits.min, limits.max + 1)
    good = dict(zip(numbers, achieved(costs, numbers), strict=True))
    for num in numbers:
        added = (good[found.pays] - good[num]) / single
        due = limits.floor * (found.pays - num)
        assert added >= due - 1e-9  # more, by so many workers; or the loss of leaving them out


@few
@given(_costs, _limits, st.floats(0.05, 1))
def test_a_higher_floor_never_asks_for_more_workers(costs, limits, other):
    low, high = sorted((limits.floor, other))
    few = pick(costs, WorkerLimits(limits.min, limits.max, high)).pays
    assert few <= pick(costs, WorkerLimits(limits.min, limits.max, low)).pays


def test_a_free_network_deserves_every_worker_that_has_a_group():
    assert pick((0, 0.01, 0, 0), WorkerLimits(1, 64)).pays == 8


def test_a_slow_network_deserves_one():
    assert pick((0, 0.01, 5, 0), WorkerLimits(1, 64)).pays == 1


def test_a_step_of_the_staircase_does_not_hide_the_next():
    """Five, six and seven workers are no faster than four, eight are."""
    asked = WorkerLimits(1, 8, floor=0.9)
    found = pick((0, 0.01, 0, 0), asked)
    assert [row.workers for row in found.rows] == [1, 2, 3, 4, 8]
    assert found.shares == pytest.approx((1, 1, 8 / 3 - 2, 4 - 8 / 3, 1))
    assert found.workers == 8


def test_the_noise_scale_lets_the_batch_grow_with_the_workers():
    batches = Work((256, 512, 1024), 256, 64, 32)
    costs = model((0, 0.001, 0.03, 0))

    def pays(scale):
        noise = NoiseScale(scale, scale, scale, 1.0, 1.0, 0.9, 10.0)
        return workers_that_pay(costs, noise, batches, WorkerLimits(1, 32)).pays

    assert pays(10.0) < pays(1e5)


def test_without_a_noise_scale_a_larger_batch_is_no_reason_for_workers():
    batches = Work((256, 512, 1024), 256, 64, 32)
    costs = model((0, 0.001, 0.01, 0))
    assert (
        workers_that_pay(costs, None, batches, WorkerLimits(1, 32)).pays
        == pick((0, 0.001, 0.01, 0), WorkerLimits(1, 32)).pays
    )


def test_a_change_that_brings_little_is_not_made():
    costs = (0.0, 0.01, 0.32, 0.0)
    free = pick(costs, WorkerLimits(1, 8))
    near = next(
        row.workers
        for row in free.rows
        if row.workers != free.pays
        and abs(row.goodput.value - free.rows[0].goodput.value) > 0
        and pick(costs, WorkerLimits(1, 8, switch_gain=1.5), current=row.workers).workers
        == row.workers
    )
    kept = pick(costs, WorkerLimits(1, 8, switch_gain=1.5), current=near)
    assert (kept.workers, kept.pays) == (near, free.pays)
    assert f"{near} stay" in kept.reason


@few
@given(_costs, _limits, st.integers(1, 24))
def test_what_was_chosen_is_kept(costs, limits, current):
    first = pick(costs, limits, current=current).workers
    assert pick(costs, limits, current=first).workers == first


@few
@given(_costs, _limits, st.integers(1, 24), st.floats(0.98, 1.02))
def test_a_small_change_of_the_speed_does_not_bring_back_what_was_left(costs, limits, now, change):
    chosen = pick(costs, limits, current=now).workers
    slower = (*costs[:2], costs[2] * change, costs[3])
    again = pick(slower, limits, current=chosen).workers
    assert again == chosen or not (limits.min <= now <= limits.max) or again != now


def test_workers_out_of_the_limits_are_never_kept():
    assert pick((0, 0.01, 0, 0), WorkerLimits(1, 4), current=8).workers == 4


def test_the_reason_carries_the_numbers():
    found = pick((0, 0.01, 0.32, 0), WorkerLimits(1, 64))
    assert f"{found.pays} workers do" in found.reason
    assert "at a batch of 256" in found.reason
    assert "0.50" in found.reason


def test_an_uncertain_network_makes_the_number_uncertain():
    rows = [(0, 0.01, 0.01 * 4**k, 0) for k in range(6)]
    found = workers_that_pay(model(*rows), None, work(), WorkerLimits(1, 8))
    assert found.likely[0] < found.pays <= found.likely[1]


@given(
    st.integers(1, 5000), st.none() | st.integers(1, 64), st.integers(1, 8), st.integers(0, 4000)
)
def test_no_candidate_leaves_out_a_share_that_fewer_workers_reach(batch, bn_group, low, more):
    limits = WorkerLimits(low, low + more)
    found = candidates(Work((batch,), batch, 64, bn_group), limits)
    groups = -(-batch // (bn_group or 1))
    shares = {-(-groups // num) for num in range(low, min(low + more, groups) + 1)} or {1}
    assert {-(-groups // num) for num in found} == shares
    assert found[0] == low
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ((0, 1), "from 0 to 1"),
        ((3, 2), "from 3 to 2"),
        ((1, 2, 0.0), "floor of 0"),
        ((1, 2, 1.5), "floor of 1.5"),
        ((1, 2, float("nan")), "floor of nan"),
        ((1, 2, 0.5, 0.9), "switch gain of 0.9"),
    ],
)
def test_contradicting_limits_are_refused(numbers, named):
    with pytest.raises(ConfigError, match=named):
        WorkerLimits(*numbers)
