"""What happens between two updates."""

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

from absa.boundary import Command
from absa.errors import ConfigError, TaskError
from absa.settings import Settings
from absa.stop import StopConfig
from absa.update.replica import Replica

VERDICTS = ["host", "device"]


def weights(replica: Replica):
    return {n: t.clone() for n, t in replica.model.state_dict().items()}


def samples_of(records):
    return [record["samples"] for record in records]


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
    assert run.outcome.state.settings == Settings(
        8, 4, batch_since=samples_of(run.boundary.of("settings"))[-1]
    )


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
    training = run.loop._training
    training.instruments = replace(training.instruments, metric_names=("loss",))
    run.train()
    assert [e["best"] for e in run.boundary.of("evaluation")] == [True, False, True]


def test_commands_that_make_no_sense_are_refused_where_they_are_made():
    with pytest.raises(ConfigError, match="global_batch is 0"):
        Command("operator", global_batch=0)


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
        object.__setattr__(run.loop._training.outside, "collective", collective)
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
