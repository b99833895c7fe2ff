"""A run that is stopped and goes on."""

from dataclasses import replace

import pytest
import torch
from engine import (
    Classify,
    Points,
    dropout_network,
    same_bits,
)
from measuring import curvature, noise
from outside import Run, constant_lr, rules

from absa.boundary import Command
from absa.stop import StopConfig
from absa.update.replica import Replica

VERDICTS = ["host", "device"]


def weights(replica: Replica):
    return {n: t.clone() for n, t in replica.model.state_dict().items()}


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
                noise_updates=2,
                curvature_samples=8,
                stop=StopConfig(epochs=2),
            ),
            options={"optimizer": optimizer, "bn_group": 2, "verdict": verdict},
            instruments={"curvature": curvature(26, max_products=4), "noise": noise(26)},
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
    same_bits(whole.replica.signals, resumed.replica.signals)
    assert whole.outcome.state.signals == resumed.outcome.state.signals
    assert whole.outcome.state.signals.num_measurements > 3


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
