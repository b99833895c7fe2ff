"""When and why a run ends."""

import pytest
import torch
from engine import (
    Classify,
    Points,
    same_bits,
)
from outside import Run, rules

from absa.boundary import Command
from absa.stop import StopConfig
from absa.update.replica import Replica

STOP = Command("operator", stop="interrupted")
RESIZE = Command("resized to 2 workers", stop="resized")
VERDICTS = ["host", "device"]


def weights(replica: Replica):
    return {n: t.clone() for n, t in replica.model.state_dict().items()}


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


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_group_that_is_to_be_resized_checkpoints_and_leaves_the_run_unended(verdict):
    run = Run(Classify(Points(20)), commands={2: RESIZE}, options={"verdict": verdict}).train()
    assert run.outcome.reason == "resized"
    assert run.boundary.of("evaluation") == run.boundary.of("run_ended") == []
    assert [why for _, why in run.saver.why()] == ["command"]
    assert run.saver.saved[0][0].values["progress"]["updates"] == run.outcome.state.progress.updates


def test_the_next_group_goes_on_to_the_weights_of_an_undisturbed_run():
    undisturbed = Run(Classify(Points(20))).train()
    first = Run(Classify(Points(20)), commands={2: RESIZE}).train()
    second = Run(Classify(Points(20)), resumed=first.saver.saved[-1][0]).train()
    assert second.outcome.reason == "updates"
    assert second.outcome.state.progress.samples == undisturbed.outcome.state.progress.samples
    same_bits(weights(second.replica), weights(undisturbed.replica))


def test_a_run_that_is_complete_is_not_resized():
    run = Run(Classify(Points(20)), rules(stop=StopConfig(updates=2)), commands={2: RESIZE}).train()
    assert run.outcome.reason == "updates"
    assert len(run.boundary.of("run_ended")) == 1
