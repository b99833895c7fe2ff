import re
from dataclasses import replace

import pytest
import torch
from engine import (
    Classify,
    Points,
    Weighed,
    dropout_network,
    normed_network,
    run_ranks,
    same_bits,
)
from outside import NEVER, Run, constant_lr, rules
from torch import nn

import absa.events
from absa.boundary import Command
from absa.errors import ConfigError, DivergenceError, TaskError
from absa.settings import Settings
from absa.stop import StopConfig
from absa.update.replica import Replica

STOP = Command("operator", stop="interrupted")
VERDICTS = ["host", "device"]


def weights(replica: Replica):
    return {n: t.clone() for n, t in replica.model.state_dict().items()}


def samples_of(records):
    return [record["samples"] for record in records]


# When a run ends


@pytest.mark.parametrize(
    ("stop", "reason", "samples"),
    [
        (StopConfig(epochs=1.5), "epochs", 18),
        (StopConfig(epochs=2), "epochs", 20),
        (StopConfig(updates=4), "updates", 14),
        (StopConfig(samples=5), "samples", 8),
        (StopConfig(epochs=3, samples=4), "samples", 4),
        # The fourth update sees, when it begins, that time is up.
        (StopConfig(time_s=2.5), "time", 14),
    ],
)
def test_a_run_ends_at_the_first_limit(stop, reason, samples):
    run = Run(Classify(Points(10)), rules(stop=stop))  # updates take 4, 4, 2, 4, ...
    run.task.source.on_fetch = run.clock.tick  # a second each
    run.train()
    assert run.outcome.reason == reason
    assert run.outcome.state.progress.samples == samples


def test_a_run_ends_when_an_evaluation_reaches_the_target():
    class Better(Classify):
        judged = 0

        def metrics(self, model, batch):
            self.judged += len(batch["y"])
            return {
                "accuracy": torch.tensor(float(self.judged) / 4),
                "loss": torch.tensor(1.0),
                "count": torch.tensor(float(len(batch["y"]))),
            }

    target = rules(stop=StopConfig(epochs=9, target_accuracy=0.6), evaluate_samples=8)
    run = Run(Better(Points(8)), target).train()
    reached = [e["metrics"]["accuracy"] for e in run.boundary.of("evaluation")]
    assert run.outcome.reason == "target"
    assert reached[-1] >= 0.6 > reached[-2]
    # It stays ended.
    resumed = Run(Better(Points(8)), target, resumed=run.saver.saved[-1][0]).train()
    assert resumed.outcome.reason == "target"
    assert resumed.outcome.state.progress.samples == run.outcome.state.progress.samples


@pytest.mark.parametrize("stop", [StopConfig(updates=3), StopConfig(time_s=2.5)])
def test_a_finished_run_that_is_resumed_ends_at_once(stop):
    def run(resumed):
        run = Run(Classify(Points(10)), rules(stop=stop), resumed=resumed)
        run.task.source.on_fetch = run.clock.tick
        return run.train()

    first = run(None)
    again = run(first.saver.saved[-1][0])
    assert again.outcome.reason == first.outcome.reason
    same_bits(weights(first.replica), weights(again.replica))
    assert again.saver.why() == [(first.outcome.state.progress.samples, "end")]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_stop_command_checkpoints_without_evaluating_first(verdict):
    run = Run(Classify(Points(20)), commands={2: STOP}, options={"verdict": verdict}).train()
    assert run.outcome.reason == "interrupted"
    assert run.boundary.of("evaluation") == []
    assert [why for _, why in run.saver.why()] == ["end"]
    assert run.outcome.state.progress.updates == (2 if verdict == "host" else 3)
    assert run.saver.saved[0][0].values["progress"]["updates"] == run.outcome.state.progress.updates


def test_a_run_that_is_complete_was_not_interrupted():
    run = Run(Classify(Points(20)), rules(stop=StopConfig(updates=2)), commands={2: STOP}).train()
    assert run.outcome.reason == "updates"


# What happens at the boundary


def test_intervals_are_multiples_of_samples_also_when_a_batch_jumps_over_several():
    run = Run(
        Classify(Points(100)),
        rules(evaluate_samples=7, checkpoint_samples=11, stop=StopConfig(samples=40)),
        Settings(4, 4),
        commands={3: Command("operator", global_batch=25)},
    ).train()
    # Boundaries: 4, 8, 12, then 37, 62.
    assert samples_of(run.boundary.of("evaluation")) == [8, 37, 62]
    assert run.saver.why() == [(12, "due"), (37, "due"), (62, "end")]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_checkpoints_by_time_come_once_each(verdict):
    run = Run(
        Classify(Points(100)),
        rules(checkpoint_s=3.0, stop=StopConfig(updates=11)),
        options={"verdict": verdict},
    )
    run.task.source.on_fetch = run.clock.tick
    run.train()
    times = [samples // 4 for samples, why in run.saver.why() if why == "due"]
    assert times == ([4, 8] if verdict == "host" else [5, 10])


def test_a_command_may_ask_for_a_checkpoint():
    run = Run(Classify(Points(100)), commands={2: Command("op", checkpoint="now")}).train()
    assert run.saver.why() == [(8, "command"), (24, "end")]
    assert run.boundary.taken == 1


@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_command_is_taken_once(verdict):
    """A flag that is still on its way must not be raised again."""
    commands = {n: Command(f"step {n}", global_batch=4 + n) for n in (1, 2, 4)}
    run = Run(Classify(Points(200)), commands=commands, options={"verdict": verdict}).train()
    assert run.boundary.taken == 3
    assert [r["reason"] for r in run.boundary.of("settings")] == ["step 1", "step 2", "step 4"]
    assert run.outcome.state.settings == Settings(8, 4)


def test_an_observation_speaks_of_the_batch_and_learning_rate_that_were_in_force():
    run = Run(
        Classify(Points(100)),
        rules(learning_rate=constant_lr(scaling="linear"), observe_updates=4),
        commands={3: Command("operator", global_batch=8, micro_batch=3)},
    ).train()
    seen = [
        (o["samples"], o["global_batch"], o["learning_rate"], o["accumulation_steps"])
        for o in run.boundary.of("observation")
    ]
    # Before the change at 12 samples, after the fourth update, and before the evaluation at the end
    assert seen == [(12, 4, 0.1, 1), (20, 8, 0.2, 3), (36, 8, 0.2, 3)]
    (settings,) = run.boundary.of("settings")
    assert settings["changed"] == {"global_batch": [4, 8], "micro_batch": [4, 3]}


def test_the_loss_of_an_observation_is_the_weighted_mean_over_its_updates():
    run = Run(
        Weighed(Points(10)), rules(observe_updates=3, stop=StopConfig(updates=3)), Settings(4, 2)
    )
    sums = []
    losses = run.task.losses

    def spying(model, batch):
        found = losses(model, batch)
        weighed = found.detach() * batch["weight"]
        sums.append((float(weighed.sum()), float(batch["weight"].sum())))
        return found

    run.task.losses = spying
    run.train()
    (observation,) = run.boundary.of("observation")
    expected = sum(a for a, _ in sums) / sum(w for _, w in sums)
    assert observation["loss"] == pytest.approx(expected, rel=1e-6)


def test_momentum_that_holds_the_learning_rate_follows_its_jump():
    """LARS: after a doubled batch the buffer is worth twice as much; SGD's is left alone."""

    def momentum(optimizer, commands):
        run = Run(
            Classify(Points(100)),
            rules(learning_rate=constant_lr(scaling="linear"), stop=StopConfig(updates=2)),
            commands=commands,
            options={"optimizer": optimizer},
        )
        run.loop.step()
        states = [run.replica.optimizer.state[p] for p in run.replica.parameters]
        return torch.cat(
            [s["momentum_buffer"].flatten() * s.get("momentum_scale", 1) for s in states]
        )

    doubled = {1: Command("operator", global_batch=8)}
    torch.testing.assert_close(momentum("lars", doubled), 2 * momentum("lars", {}))
    torch.testing.assert_close(momentum("sgd", doubled), momentum("sgd", {}))


def test_the_best_evaluation_is_saved_and_known_as_the_best_at_the_end_too():
    class Scored(Classify):
        scores = iter([0.5, 0.4, float("nan"), 0.6])

        def metrics(self, model, batch):
            count = torch.tensor(float(len(batch["y"])))
            return {
                "accuracy": next(self.scores) * count,
                "loss": count,
                "count": count,
            }

    run = Run(
        Scored(Points(5)),
        rules(evaluate_samples=5, keep_best=True, stop=StopConfig(epochs=4)),
    ).train()
    assert [e["best"] for e in run.boundary.of("evaluation")] == [True, False, False, True]
    assert run.saver.why() == [(5, "best"), (20, "end")]
    assert [about["best"] for _, about in run.saver.saved] == [True, True]
    assert [about["best_metric"] for _, about in run.saver.saved] == pytest.approx([0.5, 0.6])
    (ended,) = run.boundary.of("run_ended")
    assert ended["best_metrics"]["accuracy"] == pytest.approx(0.6)


def test_without_an_accuracy_the_lowest_loss_is_the_best():
    class Loss(Classify):
        losses_found = iter([2.0, 3.0, 1.0])

        def metrics(self, model, batch):
            count = torch.tensor(float(len(batch["y"])))
            return {"loss": next(self.losses_found) * count, "count": count}

    run = Run(Loss(Points(5)), rules(evaluate_samples=5, stop=StopConfig(epochs=3)))
    run.loop._metric_names = ("loss",)
    run.train()
    assert [e["best"] for e in run.boundary.of("evaluation")] == [True, False, True]


def test_commands_that_make_no_sense_are_refused_where_they_are_made():
    with pytest.raises(ConfigError, match="global_batch is 0"):
        Command("operator", global_batch=0)


# Records


def documented():
    """Return the keys that absa.events promises, by kind of record."""
    lines = absa.events.__doc__.split("The other keys, by kind:")[1].split("Views also")[0]
    kinds, kind = {}, ""
    for line in lines.strip().splitlines():
        kind = line.split()[0] if line and not line[0].isspace() else kind
        kinds[kind] = kinds.get(kind, "") + " " + line.removeprefix(kind)
    for kind, text in kinds.items():
        plain = re.sub(r"\([^()]*\)", "", re.sub(r"\([^()]*\)", "", text))
        kinds[kind] = {key.strip() for key in plain.split(",") if key.strip()}
    return kinds


def test_records_have_the_documented_keys():
    run = Run(
        Explodes(Points(20), at={2}),
        rules(evaluate_samples=8, observe_updates=2),
        commands={1: Command("operator", global_batch=6)},
    ).train()
    kinds = documented()
    common = {"event", "time", "lineage", "generation", "update", "samples"}
    assert {r["event"] for r in run.boundary.records} == {
        "run_started",
        "observation",
        "evaluation",
        "update_skipped",
        "settings",
        "run_ended",
    }
    for record in run.boundary.records:
        assert (record["lineage"], record["generation"]) == (2, 5)
        keys = set(record) - common
        if record["event"] == "run_started":
            assert keys == {"name"}  # what the caller says
        else:
            assert keys == kinds[record["event"]], record["event"]


def test_a_checkpoint_says_what_it_is():
    run = Run(Classify(Points(20)), rules(evaluate_samples=8, checkpoint_samples=8)).train()
    (_, about), *_ = run.saver.saved
    assert set(about) == {
        *("time", "lineage", "generation", "update", "samples"),
        *("metrics", "best_metric", "best", "why"),
    }
    assert about["metrics"] == run.boundary.of("evaluation")[0]["metrics"]


# Updates that are skipped


class Explodes(Classify):
    """Its loss is not finite in some updates, counted from 1."""

    def __init__(self, source, at, model=normed_network):
        super().__init__(source, model)
        self.at, self.number = at, 0

    def losses(self, model, batch):
        self.number += 1
        factor = float("nan") if self.number in self.at else 1.0
        return super().losses(model, batch) * factor


@pytest.mark.parametrize("verdict", VERDICTS)
def test_skipped_updates_in_a_row_end_the_run(verdict):
    run = Run(
        Explodes(Points(40), at={2, 4, 5, 6}),
        rules(stop=StopConfig(updates=50), checkpoint_samples=4),
        options={"verdict": verdict},
    )
    with pytest.raises(DivergenceError) as raised:
        run.train()
    assert "3 updates in a row were skipped" in str(raised.value)
    assert "the loss is not finite" in str(raised.value)
    assert "learning rate 0.1, batch 4" in str(raised.value)
    assert "last good checkpoint is checkpoint-2" in str(raised.value)
    skipped = run.boundary.of("update_skipped")
    assert [r["consecutive"] for r in skipped] == [1, 1, 2, 3]
    assert skipped[-1]["update"] == 2
    (ended,) = run.boundary.of("run_ended")
    assert (ended["reason"], ended["skipped"]) == ("diverged", 4)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_limit_in_updates_counts_those_that_were_applied(verdict):
    run = Run(
        Explodes(Points(40), at={1, 3, 4, 7}),
        rules(stop=StopConfig(updates=5)),
        options={"verdict": verdict},
    ).train()
    progress = run.outcome.state.progress
    assert (progress.updates, progress.skipped, progress.skipped_in_a_row) == (5, 3 + 1, 0)
    assert progress.samples == 9 * 4


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_checkpoint_counts_what_its_weights_have_seen(verdict):
    run = Run(
        Explodes(Points(40), at={2, 3}),
        rules(checkpoint_samples=4, stop=StopConfig(updates=3)),
        options={"verdict": verdict},
    ).train()
    counted = [
        (t.values["progress"]["updates"], t.values["progress"]["skipped"])
        for t, _ in run.saver.saved
    ]
    assert counted == [(1, 0), (1, 1), (1, 2), (2, 2), (3, 2)]


@pytest.mark.parametrize("verdict", VERDICTS)
def test_both_verdicts_end_with_the_same_weights(verdict):
    runs = [
        Run(
            Explodes(Points(40), at={3}),
            rules(evaluate_samples=9, checkpoint_samples=7),
            options={"verdict": v, "bn_group": 2},
        ).train()
        for v in ("host", verdict)
    ]
    same_bits(weights(runs[0].replica), weights(runs[1].replica))
    for run in runs:
        assert run.outcome.state == runs[0].outcome.state


# Resuming


class Augmented(Points):
    def __init__(self, length):
        super().__init__(length, noise=0.3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
@pytest.mark.parametrize("saved_after", [3, 7])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_resumed_run_ends_with_the_weights_of_one_never_stopped(optimizer, saved_after, verdict):
    """In mid-epoch, with batch-norm, dropout, augmentation, and a batch that changes."""

    def run(**others):
        torch.seed()  # nothing may depend on what was drawn before
        return Run(
            Classify(Augmented(26), dropout_network),
            rules(
                learning_rate=constant_lr(scaling="linear"),
                checkpoint_samples=4,
                evaluate_samples=9,
                stop=StopConfig(epochs=2),
            ),
            options={"optimizer": optimizer, "bn_group": 2, "verdict": verdict},
            **others,
        ).train()

    change = Command("operator", global_batch=7, micro_batch=6)
    whole = run(commands={4: change})
    tree, _ = whole.saver.saved[saved_after - 1]
    assert tree.values["settings"]["global_batch"] == (4 if saved_after == 3 else 7)
    resumed = run(resumed=tree, commands={1: change} if saved_after == 3 else {})
    same_bits(weights(whole.replica), weights(resumed.replica))
    ends = [run.outcome.state.progress for run in (whole, resumed)]
    assert replace(ends[0], training_s=0.0) == replace(ends[1], training_s=0.0)


def test_training_time_goes_on_where_it_was():
    def run(resumed, epochs):
        run = Run(Classify(Points(10)), rules(stop=StopConfig(epochs=epochs)), resumed=resumed)
        run.task.source.on_fetch = run.clock.tick
        return run.train()

    first = run(None, 1)
    second = run(first.saver.saved[-1][0], 2)
    spent = [r.boundary.of("run_ended")[0]["seconds"] for r in (first, second)]
    assert spent == [5.0, 10.0]  # three updates, two batches of evaluation
    assert first.saver.saved[-1][0].values["progress"]["training_s"] == 5.0


# Ranks and tasks


def test_all_ranks_follow_rank_0_and_agree():
    tasks = [Classify(Points(30), normed_network) for _ in range(2)]
    plan = rules(evaluate_samples=9, checkpoint_s=2.0, observe_updates=2, stop=StopConfig(time_s=9))
    runs = [
        Run(
            task,
            plan,
            options={"bn_group": 2},
            commands={2: Command("operator", global_batch=6)} if rank == 0 else {},
        )
        for rank, task in enumerate(tasks)
    ]
    runs[0].task.source.on_fetch = runs[0].clock.tick  # the clock of rank 1 stands still

    def train(collective):
        run = runs[collective.rank]
        object.__setattr__(run.loop._outside, "collective", collective)
        return run.train()

    run_ranks(2, train)
    same_bits(weights(runs[0].replica), weights(runs[1].replica))
    assert runs[0].outcome.reason == runs[1].outcome.reason == "time"
    assert runs[0].outcome.metrics == runs[1].outcome.metrics
    assert runs[0].saver.why() == runs[1].saver.why() != []
    assert runs[0].boundary.records != []
    assert (runs[1].boundary.records, runs[1].boundary.asked) == ([], 0)
    states = [run.outcome.state for run in runs]
    assert states[0] == states[1]


def test_a_task_that_breaks_its_contract_in_mid_training_leaves_no_hooks():
    class Late(Classify):
        passes = 0

        def losses(self, model, batch):
            self.passes += 1
            return super().losses(model, batch)[: 4 if self.passes < 3 else 3]

    run = Run(Late(Points(20)))
    with pytest.raises(TaskError, match=r"shape \(3,\) for 4 samples"):
        run.train()
    assert not any(p._post_accumulate_grad_hooks for p in run.replica.parameters)


def test_evaluating_and_observing_change_no_weight():
    plain = Run(Classify(Points(26), dropout_network), options={"bn_group": 2}).train()
    watched = Run(
        Classify(Points(26), dropout_network),
        rules(evaluate_samples=1, observe_updates=1, checkpoint_samples=1),
        options={"bn_group": 2},
    ).train()
    same_bits(weights(plain.replica), weights(watched.replica))


def test_a_model_given_in_evaluation_mode_is_trained():
    run = Run(Classify(Points(8), lambda: nn.Sequential(*dropout_network()).eval()))
    assert all(module.training for module in run.replica.model.modules())


def test_an_interval_of_never_is_never():
    run = Run(Classify(Points(20)), rules(evaluate_samples=NEVER)).train()
    assert len(run.boundary.of("evaluation")) == 1  # at the end
