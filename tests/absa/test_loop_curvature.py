"""When a loop measures its curvature, and what it makes of it."""

import math
from dataclasses import replace

import pytest
import torch
from engine import Classify, Points, normed_network, run_ranks, same_bits
from measuring import curvature
from outside import Run, rules

from absa.curvature.probe import CurvatureProbe, choose_samples, recall, remember
from absa.curvature.trial import why_not
from absa.signals import Curvature
from absa.stop import StopConfig

NUM_TRAIN = 20
STOP = StopConfig(updates=10)
UNLIMITED = math.inf  # else a measurement on a busy machine would delay the next one


class Slow:
    """Takes so long for each measurement as it is told, and finds nothing."""

    clock = None

    def __init__(self, seconds):
        self.seconds = seconds

    def measure(self, problem, state, question=None):
        self.clock.now += self.seconds
        nothing = Curvature((), (), math.nan, math.inf, 0.05, "not_finite", 1, 6, self.seconds)
        return state, nothing


def prepare(probe=None, resumed=None, **changes):
    run = Run(
        Classify(Points(NUM_TRAIN), normed_network),
        rules(**({"stop": STOP, "curvature_samples": 10, "curvature_share": UNLIMITED} | changes)),
        options={"bn_group": 2},
        instruments={"curvature": probe or curvature(NUM_TRAIN)},
        resumed=resumed,
    )
    run.task.source.on_fetch = run.clock.tick  # a second for each batch that is fetched
    return run


def train(*arguments, **changes):
    return prepare(*arguments, **changes).train()


def measured(run):
    return [record["samples"] for record in run.boundary.of("curvature")]


def test_it_is_measured_where_its_interval_is_crossed():
    run = train()
    assert measured(run) == [12, 20, 32, 40]  # batches of 4
    record = run.boundary.of("curvature")[0]
    assert record["value"] == record["values"][0] >= record["values"][1]
    assert record["lower"] <= record["value"] <= record["upper"]
    assert record["num_samples"] == 6
    assert record["lineage"] == 2


def test_without_an_interval_or_an_instrument_nothing_is_measured():
    assert measured(train(curvature_samples=None)) == []
    run = Run(Classify(Points(8)), rules(curvature_samples=4, stop=STOP)).train()
    assert measured(run) == []


def test_measuring_changes_nothing_that_is_trained():
    with_it, without = train(), train(curvature_samples=None)
    same_bits(with_it.replica.model.state_dict(), without.replica.model.state_dict())


def test_what_takes_too_long_is_done_less_often():
    def measured_by(seconds, **changes):
        slow = Slow(seconds)
        run = prepare(replace(curvature(NUM_TRAIN), tracker=slow), **changes)
        slow.clock = run.clock
        return measured(run.train())

    # Each measurement fetches two passes; at the first crossing 12 samples have taken 5 s with it.
    assert measured_by(0.0, curvature_share=1.0) == [12, 20, 32, 40]
    assert measured_by(0.0, curvature_share=0.25) == [12, 32]
    assert measured_by(10.0, curvature_share=0.1) == [12]


def test_what_is_not_finite_is_no_measurement():
    slow = Slow(0.0)
    run = prepare(replace(curvature(NUM_TRAIN), tracker=slow))
    slow.clock = run.clock
    run.train()
    assert math.isnan(run.boundary.of("curvature")[0]["value"])
    assert run.outcome.state.signals.num_measurements == 0


def test_its_vectors_are_part_of_the_state():
    tree, _ = train().saver.saved[-1]
    vectors = tree.tensors["signals/curvature"]
    assert vectors.dtype == torch.bfloat16
    assert (vectors.float().norm(dim=1) - 1).abs().max() < 0.01
    assert tree.values["signals"]["num_measurements"] == 4
    again = train(resumed=tree, stop=StopConfig(updates=12))
    assert again.outcome.state.signals.num_measurements == 4


def test_a_job_that_measures_otherwise_begins_anew():
    tree, _ = train().saver.saved[-1]
    tree = replace(tree, tensors={n: t for n, t in tree.tensors.items() if "signals" not in n})
    again = train(resumed=tree, stop=StopConfig(updates=15))
    assert measured(again) == [52, 60]
    assert again.outcome.state.signals.num_measurements == 2


def test_ranks_measure_together():
    runs = [prepare(), prepare()]  # not in the threads: they share torch's random state

    def rank(collective):
        training = runs[collective.rank].loop._training
        training.outside = replace(training.outside, collective=collective)
        return runs[collective.rank].train()

    first, second = run_ranks(2, rank)
    same_bits(first.replica.signals, second.replica.signals)
    assert first.outcome.state.signals == second.outcome.state.signals
    alone = train()
    for ours, theirs in zip(
        alone.boundary.of("curvature"), first.boundary.of("curvature"), strict=True
    ):
        assert ours["values"] == pytest.approx(theirs["values"], rel=0.05)


def test_samples_are_chosen_once_for_all():
    chosen = choose_samples(5, 1000, 16)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert chosen.tolist() == choose_samples(5, 1000, 16).tolist()
    assert chosen.tolist() != choose_samples(6, 1000, 16).tolist()
    assert choose_samples(5, 4, 16).tolist() == [0, 1, 2, 3]


class Once(torch.autograd.Function):
    """Has a derivative, but that has none."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient * 2


def test_a_model_without_a_second_derivative_is_found_before_training():
    class Rough(Classify):
        def losses(self, model, batch):
            return super().losses(lambda x: Once.apply(model(x)), batch)

    probe: CurvatureProbe = curvature(NUM_TRAIN)
    smooth = Run(Classify(Points(NUM_TRAIN)))
    assert why_not(probe, smooth.replica) is None
    assert "once_differentiable" in why_not(probe, Run(Rough(Points(NUM_TRAIN))).replica)


def test_a_product_that_is_not_finite_leaves_what_was_known():
    run = train()
    before = run.replica.signals["curvature"].clone()
    known = recall(curvature(NUM_TRAIN), run.replica, 4)
    remember(run.replica, known)
    assert torch.equal(run.replica.signals["curvature"], before)
    remember(run.replica, replace(known, vectors=known.vectors[:1].clone()))
    assert torch.equal(run.replica.signals["curvature"][0], before[0])
    assert not run.replica.signals["curvature"][1].any()


def test_a_checkpoint_without_signals_can_be_gone_on_with():
    tree, _ = train().saver.saved[-1]
    values = {name: value for name, value in tree.values.items() if name != "signals"}
    tensors = {name: t for name, t in tree.tensors.items() if "signals" not in name}
    again = train(
        resumed=replace(tree, values=values, tensors=tensors), stop=StopConfig(updates=13)
    )
    assert measured(again) == [52]
