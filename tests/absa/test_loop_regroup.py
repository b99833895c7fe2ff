"""Ranks whose collectives fail meet again, and nothing is lost or done twice."""

import functools

import pytest
import torch
from breaking import LaterBoundary, Meeting, Survivor, in_threads
from engine import Classify, Points, normed_network, same_bits
from measuring import curvature, noise
from outside import Run, constant_lr, rules

from absa.boundary import Command
from absa.policy.clock import Clock
from absa.policy.decide import Decider
from absa.policy.following import Following
from absa.policy.limits import Limits
from absa.stop import StopConfig
from absa.update import update
from absa.update.reducer import GradientReducer

PLAN = rules(
    learning_rate=constant_lr(scaling="linear"),
    evaluate_samples=9,
    checkpoint_samples=20,
    observe_updates=2,
    noise_updates=2,
    probe_updates=3,
    curvature_samples=10,
    keep_best=True,
    stop=StopConfig(updates=7),
    decider=Decider("clock", Clock(4, 0.7), Following("linear", 4)),
    limits=Limits(max_batch=10, min_batch=4, unit=2),
)
COMMANDS = {
    2: Command("a larger batch", global_batch=6),
    5: Command("a checkpoint", checkpoint="now"),
}
TIMED = {"time", "update_s", "samples_per_s", "time_left_s", "seconds"}


class Blows(Classify):
    """Its loss is not finite in each update that some sample is part of."""

    def losses(self, model, batch):
        found = super().losses(model, batch)
        return torch.where(batch["x"][:, 0] > 1.6, torch.nan, found)


@pytest.fixture(autouse=True)
def several_sums_in_an_update(monkeypatch):
    small = functools.partial(GradientReducer, bucket_bytes=200)
    monkeypatch.setattr(update, "GradientReducer", small)


def make_run(rank, verdict):
    options = {"optimizer": "lars", "bn_group": 2, "verdict": verdict}
    # Few products, which are alike: each has collectives of its own.
    instruments = {"curvature": curvature(30, max_products=4), "noise": noise(30)}
    run = Run(Blows(Points(30), normed_network), PLAN, options=options, instruments=instruments)
    training = run.loop._training
    run.boundary = LaterBoundary(
        COMMANDS if rank == 0 else {},
        lambda: training.progress.updates + training.progress.skipped,
    )
    return run


def train(verdict, *failing):
    """Train on two ranks; ``failing`` has for each group but the last what fails in it."""
    between = Meeting(2)
    groups = [*(Meeting(2, fails) for fails in failing), Meeting(2)]
    runs = [make_run(rank, verdict) for rank in range(2)]
    ranks = [Survivor(run, rank, between, groups) for rank, run in enumerate(runs)]
    in_threads([rank.train for rank in ranks])
    return ranks


@functools.cache
def train_undisturbed(verdict):
    """Return the ranks of a run in which nothing fails; nobody changes them any more."""
    return train(verdict)


def state(rank):
    return rank.run.loop._training.tree()


def values(rank, verdict):
    found = state(rank).values
    if verdict == "device":
        # What was on the device is learnt a little earlier, and other updates are looked at then.
        found = {**found, "signals": {**found["signals"], "noise": None}}
    return found


def records(rank, skip):
    """Return rank 0's records without what clocks say; as text, for NaN differs from itself."""
    return [
        str({key: value for key, value in record.items() if key not in TIMED | skip})
        for record in rank.run.boundary.records
    ]


def of(kinds, found):
    return [record for record in found if any(repr(kind) in record for kind in kinds)]


def same_ends(ranks, undisturbed, verdict):
    for rank in ranks:
        same_bits(state(rank).tensors, state(undisturbed[0]).tensors)
        assert values(rank, verdict) == values(undisturbed[0], verdict)
        assert rank.run.loop.position == undisturbed[0].run.loop.position
        assert rank.outcome.metrics == undisturbed[0].outcome.metrics
        assert rank.outcome.reason == undisturbed[0].outcome.reason
    first, expected = ranks[0], undisturbed[0]
    assert first.run.saver.why() == expected.run.saver.why()
    assert first.run.boundary.taken == expected.run.boundary.taken == 2
    assert ranks[1].run.boundary.records == []
    found, wanted = records(first, set()), records(expected, set())
    if verdict == "host":
        assert found == wanted
        return
    # What was on the device when a collective failed is learnt a little earlier.
    exact = {"run_started", "settings", "evaluation", "run_ended"}
    assert of(exact, found) == of(exact, wanted)
    late = {"samples", "update"}
    skipped = [of({"update_skipped"}, records(rank, late)) for rank in (first, expected)]
    assert skipped[0] == skipped[1] != []


def test_the_plan_has_all_that_can_happen():
    (rank, _) = train_undisturbed("host")
    events = [record["event"] for record in rank.run.boundary.records]
    assert {
        *("observation", "evaluation", "update_skipped", "settings", "curvature", "run_ended"),
        "decision",
    } <= set(events)
    assert {why for _, why in rank.run.saver.why()} >= {"due", "command", "best"}


@pytest.mark.parametrize(
    "every",
    [
        pytest.param(53, id="some"),
        pytest.param(3, id="many", marks=pytest.mark.cpu_heavy),
        pytest.param(1, id="all", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize(
    "failing",
    [
        pytest.param({0}, id="rank 0"),
        pytest.param({1}, id="rank 1"),
        pytest.param({0, 1}, id="both"),
    ],
)
@pytest.mark.parametrize("verdict", ["host", "device"])
def test_a_collective_that_fails_anywhere_leaves_no_trace(verdict, failing, every):
    """In an update, a command, an evaluation, at the end; on those ahead and on those behind."""
    undisturbed = train_undisturbed(verdict)
    num_collectives = undisturbed[0].groups[0].num_collectives
    assert num_collectives > 20
    # The last one says that the run is over: a rank for which it succeeds comes to no other group.
    numbers = range(num_collectives if len(failing) == 2 else num_collectives - 1)
    for number in numbers[::every]:
        ranks = train(verdict, dict.fromkeys(failing, number))
        assert [rank.num_lost for rank in ranks] == [1, 1], number
        same_ends(ranks, undisturbed, verdict)
