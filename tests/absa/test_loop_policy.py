"""What a policy decides is in force at the next boundary, on every rank, and in the journal."""

import json
from dataclasses import replace

import pytest
from engine import Classify, Points, normed_network, run_ranks, same_bits
from measuring import curvature, noise
from outside import Run, constant_lr, rules

from absa.boundary import Command
from absa.policy.clock import Clock
from absa.policy.curvature_rule import CurvatureRule
from absa.policy.decide import Decider, PolicyState
from absa.policy.following import Following
from absa.policy.limits import Limits
from absa.policy.noise_rule import NoiseRule
from absa.stop import StopConfig

NUM_TRAIN = 40
LIMITS = Limits(max_batch=16, min_batch=4, unit=2)
LINEAR = constant_lr(scaling="linear")


def decider(policy, kind="some", **options):
    return Decider(kind, policy, Following("linear", 4), **options)


CLOCK = decider(Clock(4, 0.25))
"""Doubles after 10 and 20 of 40 samples."""


def prepare(policy=CLOCK, commands=None, verdict="host", **changes):
    plan = {
        "learning_rate": LINEAR,
        "observe_updates": 1,
        "stop": StopConfig(updates=10),
        "decider": policy,
        "limits": LIMITS,
    }
    run = Run(
        Classify(Points(NUM_TRAIN), normed_network),
        rules(**(plan | changes)),
        commands=commands or {},
        options={"bn_group": 2, "verdict": verdict},
        instruments={
            "curvature": curvature(NUM_TRAIN),
            "noise": noise(NUM_TRAIN),
        },
    )
    run.task.source.on_fetch = run.clock.tick
    return run


def batches(run):
    return [(o["samples"], o["global_batch"]) for o in run.boundary.of("observation")]


def changed(run):
    return [d for d in run.boundary.of("decision") if d["global_batch"][0] != d["global_batch"][1]]


def test_a_growth_is_in_force_one_update_after_it_was_decided():
    run = prepare().train()
    assert batches(run)[:6] == [(4, 4), (8, 4), (12, 4), (16, 4), (24, 8), (32, 8)]
    first, second = changed(run)
    assert (first["samples"], first["update"], first["decided_at"]) == (16, 4, 12)
    assert (first["global_batch"], first["lr_scale"]) == ([4, 8], [1.0, 2.0])
    assert (first["rule"], first["limited_by"]) == ("clock", [])
    assert second["global_batch"] == [8, 16]


def test_the_learning_rate_follows_and_the_journal_says_so():
    run = prepare().train()
    rates = {o["global_batch"]: o["learning_rate"] for o in run.boundary.of("observation")}
    assert rates == {4: 0.1, 8: 0.2, 16: 0.4}
    assert [d["global_batch"] for d in changed(run)] == [[4, 8], [8, 16]]
    assert "growth 1 was due" in changed(run)[0]["reason"]


def test_what_is_kept_is_recorded_with_its_reason():
    run = prepare().train()
    (first, *_) = run.boundary.of("decision")
    assert (first["rule"], first["global_batch"], first["samples"]) == ("keep", [4, 4], 4)
    assert json.dumps(first)


def test_the_learning_rate_may_climb_over_some_updates():
    run = prepare(decider(Clock(4, 0.25), ramp_updates=2), stop=StopConfig(updates=7)).train()
    rates = [round(o["learning_rate"], 6) for o in run.boundary.of("observation")]
    # From 0.1 to 0.2 over two updates of 8; the next growth begins where the climb stands.
    assert rates[:7] == [0.1, 0.1, 0.1, 0.1, 0.1, 0.15, 0.2]


@pytest.mark.parametrize("verdict", ["host", "device"])
def test_all_ranks_change_together(verdict):
    # Made outside the threads, which share torch's random state.
    runs = [prepare(verdict=verdict, stop=StopConfig(updates=8)) for _ in range(2)]

    def train(collective):
        run = runs[collective.rank]
        run.loop._training.outside = replace(run.loop._training.outside, collective=collective)
        return run.train()

    run_ranks(2, train)
    same_bits(*(run.replica.model.state_dict() for run in runs))
    settings = [run.outcome.state.settings for run in runs]
    assert settings[0] == settings[1]
    assert settings[0].global_batch == 16
    assert runs[0].outcome.state.policy == runs[1].outcome.state.policy
    assert not runs[1].boundary.records


def test_an_operator_who_holds_is_obeyed_and_one_who_lets_go_too():
    held = {2: Command("wait", hold=True), 8: Command("go on", hold=False)}
    run = prepare(commands=held).train()
    (first, *_) = changed(run)
    assert first["update"] > 8
    assert {d["rule"] for d in run.boundary.of("decision") if 3 <= d["update"] <= 7} == {"hold"}


def test_a_batch_that_an_operator_sets_is_what_the_policy_goes_on_from():
    run = prepare(commands={2: Command("mine", global_batch=10)}).train()
    assert [d["global_batch"] for d in changed(run)] == [[10, 16]]


def test_an_operator_may_bound_the_batch():
    run = prepare(commands={2: Command("no more", max_batch=8)}).train()
    assert [d["global_batch"] for d in changed(run)] == [[4, 8]]
    assert run.boundary.of("decision")[-1]["rule"] == "keep"


def test_a_decision_about_another_batch_is_not_put_in_force():
    # Decided after the third update; the operator's command arrives at the same boundary.
    run = prepare(commands={4: Command("mine", global_batch=14)}).train()
    assert [d["global_batch"] for d in changed(run)] == [[14, 16]]


@pytest.mark.parametrize(
    "stopped_at",
    [3, *(pytest.param(n, marks=pytest.mark.cpu_heavy) for n in (2, 4, 5, 6))],
)
def test_a_resumed_run_decides_as_one_that_was_not_interrupted(stopped_at):
    rule = CurvatureRule(patience_epochs=0.25, reference_epochs=0.1)
    plan = {"policy": decider(rule, "abs"), "curvature_samples": 8}
    whole = prepare(**plan).train()
    part = prepare(**plan, stop=StopConfig(updates=stopped_at)).train()
    resumed = replace_state(prepare(**plan), part.saver.saved[-1][0]).train()
    assert resumed.outcome.state.settings == whole.outcome.state.settings
    assert resumed.outcome.state.policy == whole.outcome.state.policy
    after = [d for d in changed(whole) if d["update"] > stopped_at]
    assert [strip(d) for d in changed(resumed)] == [strip(d) for d in after]
    same_bits(resumed.replica.model.state_dict(), whole.replica.model.state_dict())


def strip(record):
    return {name: record[name] for name in ("update", "samples", "global_batch", "rule", "numbers")}


def replace_state(run, tree):
    return replace(run, resumed=tree)


def test_a_curvature_policy_asks_and_decides_where_it_was_measured():
    rule = CurvatureRule(patience_epochs=100.0, reference_epochs=0.1)
    run = prepare(decider(rule, "abs"), curvature_samples=8, observe_updates=1000).train()
    measured = run.boundary.of("curvature")
    decided = run.boundary.of("decision")
    assert [d["samples"] for d in decided if d["rule"] != "rate"][:1] == [measured[0]["samples"]]
    assert run.outcome.state.policy.kind == "abs"
    assert run.outcome.state.policy.state["reference"] == measured[0]["value"]
    assert {m["failure_probability"] for m in measured[1:]} == {0.001}
    assert {m["stopped"] for m in measured[1:]} <= {"fallen", "not_fallen", "budget"}


def test_the_noise_scale_reaches_the_policy():
    run = prepare(decider(NoiseRule(ratio=1e9), "noise"), noise_updates=1).train()
    (first, *_) = changed(run)
    assert first["rule"] == "noise"
    assert first["numbers"]["noise_lower"] > 0


def test_without_a_policy_nothing_is_decided():
    run = prepare(None).train()
    assert run.boundary.of("decision") == []
    assert run.outcome.state.policy == PolicyState()
