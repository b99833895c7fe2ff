"""Nothing but journalled signals enters a decision: replayed, a policy decides the same again."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from engine import Classify, Points, normed_network
from measuring import curvature, noise
from outside import SETTINGS, Run, rules

from absa.boundary import Command
from absa.journal import open_journal, read_journal
from absa.policy.clock import Clock
from absa.policy.curvature_rule import CurvatureRule
from absa.policy.decide import Decider
from absa.policy.decision import as_record
from absa.policy.following import Following
from absa.policy.hybrid import Hybrid
from absa.policy.limits import Limits
from absa.policy.noise_rule import NoiseRule
from absa.policy.schedule import InsteadOfDecay
from absa.policy.stability import Stability
from absa.policy.standpoint import Course
from absa.policy.warming import Warming
from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
from absa.schedules.learning_rate import learning_rate
from absa.stop import StopConfig
from absa.storage import open_storage
from cluster.job_policy import Deciding
from cluster.replaying.agreement import disagreements
from cluster.replaying.moments import read_moments
from cluster.replaying.replay import replay
from cluster.report.history import place, survivors

NUM_TRAIN, TOTAL = 40, 160
LIMITS = Limits(max_batch=16, min_batch=2, unit=2)
PATIENT = CurvatureRule(patience_epochs=0.7, reference_epochs=0.1, alpha=1.05)
NOISE = NoiseRule(ratio=1e9, factor=1.5)
SCHEDULE = ScheduleConfig(
    scaling="linear",
    reference_batch=4,
    warmup=WarmupConfig(kind="none"),
    decay=DecayConfig(kind="cosine"),
)


def decider(policy, kind="some", rule="linear", **options):
    return Decider(kind, policy, Following(rule, 4), **options)


POLICIES = {
    "clock": decider(Clock(4, 0.7), ramp_updates=2),
    "schedule": decider(InsteadOfDecay(4, 1.5)),
    "absa": decider(PATIENT, stability=Stability(0.9, 0.05)),
    "noise": decider(NOISE, rule="gain"),
    "hybrid": decider(Hybrid(NOISE, PATIENT, 4.0), rule="sqrt"),
    "warming": decider(NOISE, warming=Warming(4, 16, 1.5)),
}


def prepare(policy, *, every=1, verdict="host", resumed=None, updates=1000, **options):
    run = Run(
        Classify(Points(NUM_TRAIN), normed_network),
        rules(
            learning_rate=learning_rate(0.1, SCHEDULE, NUM_TRAIN, TOTAL),
            observe_updates=every,
            stop=StopConfig(samples=TOTAL, updates=updates),
            decider=policy,
            limits=LIMITS,
            noise_updates=1,
            curvature_samples=20,
        ),
        options={"bn_group": 2, "verdict": verdict},
        instruments={"curvature": curvature(NUM_TRAIN), "noise": noise(NUM_TRAIN)},
        resumed=resumed,
        **options,
    )
    run.task.source.on_fetch = run.clock.tick
    return run


def journalled(folder, *runs):
    """Return what survives of runs, each resumed from the one before, as a journal gives it."""
    storage = open_storage(str(folder))
    for lineage, run in enumerate(runs):
        with open_journal(storage, lineage) as journal:
            for record in run.boundary.records:
                journal.append({**record, "lineage": lineage})
    return survivors(place(read_journal(storage)))


def moments_of(folder, *runs):
    return read_moments(journalled(folder, *runs), 0.9)


def deciding(policy):
    rate = learning_rate(0.1, SCHEDULE, NUM_TRAIN, TOTAL)
    return Deciding(policy, LIMITS, Course(NUM_TRAIN, TOTAL, rate), SETTINGS)


def assert_the_same(policy, moments):
    steps = replay(deciding(policy), moments)
    assert disagreements(moments, steps) == []
    said = [moment.said for moment in moments if moment.said is not None]
    mine = [as_record(step.decision) for step in steps if step.moment.said is not None]
    assert mine == [{key: record[key] for key in mine[0]} for record in said]
    return steps


def batches(steps):
    return [s.decision.after.batch for s in steps if s.decision.before != s.decision.after]


def test_the_recorded_policy_decides_the_same_again(tmp_path):
    run = prepare(POLICIES["hybrid"]).train()
    assert batches(assert_the_same(POLICIES["hybrid"], moments_of(tmp_path, run)))


@pytest.mark.cpu_heavy
@pytest.mark.parametrize(
    ("name", "verdict"),
    [*((name, "host") for name in POLICIES), ("absa", "device"), ("noise", "device")],
)
def test_the_recorded_policy_replays_to_its_own_decisions(tmp_path, name, verdict):
    run = prepare(POLICIES[name], every=1 if verdict == "host" else 3, verdict=verdict).train()
    steps = assert_the_same(POLICIES[name], moments_of(tmp_path, run))
    assert batches(steps)


def commands():
    return {
        4: Command("mine", global_batch=6),
        7: Command("wait", hold=True),
        9: Command("go on", hold=False, micro_batch=2),
        12: Command("no more", max_batch=8),
    }


@pytest.mark.cpu_heavy
@pytest.mark.parametrize("name", ["clock", "hybrid"])
@pytest.mark.parametrize("verdict", ["host", "device"])
def test_what_an_operator_did_is_replayed_too(tmp_path, name, verdict):
    run = prepare(POLICIES[name], verdict=verdict, commands=commands()).train()
    assert_the_same(POLICIES[name], moments_of(tmp_path, run))


def test_a_decision_that_an_operator_overtook_is_in_the_journal(tmp_path):
    run = prepare(CLOCK, commands={4: Command("mine", global_batch=14)}).train()
    (dropped,) = [r for r in run.boundary.of("decision") if r["rule"] == "dropped"]
    assert dropped["global_batch"] == [14, 14]
    assert "batch of 8 was decided (clock)" in dropped["reason"]
    steps = assert_the_same(CLOCK, moments_of(tmp_path, run))
    (lost,) = [step for step in steps if step.in_force_at is None]
    assert lost.moment.samples == dropped["decided_at"]


def test_a_bound_that_overtakes_a_decision_holds(tmp_path):
    run = prepare(CLOCK, updates=8, commands={4: Command("no more", max_batch=6)}).train()
    assert max(record["global_batch"] for record in run.boundary.of("observation")) == 6
    (dropped,) = [r for r in run.boundary.of("decision") if r["rule"] == "dropped"]
    assert dropped["reason"].endswith("an operator allows at most 6")
    assert_the_same(CLOCK, moments_of(tmp_path, run))


CLOCK = decider(Clock(4, 0.25))
"""Decides after the third update; the operator's command arrives at the next boundary."""


@pytest.mark.cpu_heavy
@pytest.mark.parametrize(
    ("name", "stopped_at", "verdict"),
    [("absa", 3, "host"), ("hybrid", 5, "host"), ("absa", 9, "device"), ("hybrid", 4, "device")],
)
def test_a_resumed_run_replays_over_all_its_lineages(tmp_path, name, stopped_at, verdict):
    policy = POLICIES[name]
    first = prepare(policy, updates=stopped_at, verdict=verdict).train()
    # It went on for a while after its last checkpoint, and nothing of that is left.
    tree = first.saver.saved[-1][0]
    beyond = prepare(policy, updates=stopped_at + 4, verdict=verdict).train()
    second = prepare(policy, verdict=verdict, resumed=tree).train()
    moments = moments_of(tmp_path, beyond, second)
    assert_the_same(policy, moments)
    assert len(moments) == len({moment.samples for moment in moments})


@pytest.mark.cpu_heavy
@pytest.mark.parametrize("name", ["clock", "hybrid"])
def test_another_policy_follows_its_own_decisions(tmp_path, name):
    moments = moments_of(tmp_path, prepare(POLICIES["noise"]).train())
    steps = replay(deciding(POLICIES[name]), moments)
    for before, after in pairwise(steps):
        assert after.decision.before == before.decision.after
        if before.decision.changes:
            assert after.moment.samples >= before.in_force_at
    assert json.dumps([as_record(step.decision) for step in steps])


@pytest.mark.cpu_heavy
def test_a_journal_without_decisions_is_decided_where_something_was_seen(tmp_path):
    run = prepare(None).train()
    moments = moments_of(tmp_path, run)
    assert {moment.said for moment in moments} == {None}
    assert [m.samples for m in moments] == sorted(
        {o["samples"] for o in run.boundary.of("observation")}
    )
    assert batches(replay(deciding(CLOCK), moments)) == [8, 16]
    assert replace(moments[-1].heard, loss=None, noise=None).curvature_at == 160
