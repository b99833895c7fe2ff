"""An update that is not finite changes nothing, whoever finds that out."""

import pytest
import torch
from engine import (
    Classify,
    Points,
    Weighed,
    make_replica,
    normed_network,
    plain_network,
    run_ranks,
    run_updates,
    same_bits,
)
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from absa.collective import SingleProcess
from absa.optim.config import OptimizerConfig
from absa.settings import Settings
from absa.update.apply import can_skip_unseen
from absa.update.scalars import Flags
from absa.update.update import Turn, Updater

BAD, LENGTH = 2, 24  # the update in the middle is the bad one
STEPS = [Settings(4, 2)] * 3
OPTIMIZERS = ["sgd", "adamw", "lars"]
VERDICTS = ["host", "device"]


class Bad(Classify):
    """Spoils what its kind says in the passes of one update of four samples."""

    def __init__(self, source, what, first_pass=BAD):
        super().__init__(source, normed_network)
        self.what, self.first_pass, self.passes = what, first_pass, 0

    def losses(self, model, batch):
        now = self.first_pass <= self.passes < self.first_pass + 2
        self.passes += 1
        losses = super().losses(model, batch)
        if not now:
            return losses
        if self.what == "loss":  # its gradient is finite
            return losses + torch.tensor(float("inf"))
        if self.what == "gradient":  # of zero, where the square root is finite
            return losses + (model[0].weight.sum() * 0).sqrt()
        # An activation whose variance overflows; normalised it is zero, and so is its gradient.
        model[1](torch.full((2, 8), 3e38) * torch.tensor([[1.0], [-1.0]]))
        return losses


def without_the_bad_one(optimizer, verdict):
    """Make the same updates, the bad one left out."""
    replica = make_replica(
        Classify(Points(LENGTH), normed_network), optimizer, bn_group=2, verdict=verdict
    )
    updater = Updater(replica)
    for samples in (0, 8):
        updater.update(SingleProcess(), STEPS[0], Turn(samples, 0.1, Flags()))
    return replica


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("what", ["loss", "gradient", "statistics"])
def test_an_update_that_is_not_finite_leaves_everything_as_it_was(what, optimizer, verdict):
    replica = make_replica(Bad(Points(LENGTH), what), optimizer, bn_group=2, verdict=verdict)
    trained = run_updates(replica, STEPS)
    assert [r.applied for r in trained.results] == [True, False, True]
    assert ("loss" in trained.results[1].reason) == (what == "loss")
    expected = without_the_bad_one(optimizer, verdict)
    same_bits(dict(replica.model.state_dict()), dict(expected.model.state_dict()))
    for mine, other in zip(replica.parameters, expected.parameters, strict=True):
        a, b = replica.optimizer.state[mine], expected.optimizer.state[other]
        assert {k: torch.as_tensor(v).tolist() for k, v in a.items()} == {
            k: torch.as_tensor(v).tolist() for k, v in b.items()
        }


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_both_verdicts_train_alike(optimizer):
    states = [
        run_updates(
            make_replica(
                Classify(Points(LENGTH), normed_network),
                optimizer,
                bn_group=2,
                verdict=verdict,
                clip_norm=0.1,
            ),
            STEPS * 2,
        ).state
        for verdict in VERDICTS
    ]
    same_bits(*states)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_first_update_that_is_skipped_by_the_device_leaves_clean_momentum(optimizer):
    replica = make_replica(
        Bad(Points(LENGTH), "loss", first_pass=0), optimizer, bn_group=2, verdict="device"
    )
    run_updates(replica, STEPS[:1])
    for parameter in replica.parameters:
        for name, value in replica.optimizer.state[parameter].items():
            assert name == "momentum_scale" or not value.any(), name


@pytest.mark.parametrize("verdict", VERDICTS)
def test_one_bad_rank_makes_all_skip(verdict):
    tasks = [Bad(Points(LENGTH), "gradient", first_pass) for first_pass in (99, 1)]
    replicas = [make_replica(task, bn_group=2, verdict=verdict) for task in tasks]
    ranks = run_ranks(2, lambda c: run_updates(replicas[c.rank], STEPS, c))
    assert [[r.applied for r in rank.results] for rank in ranks] == [[True, False, False]] * 2
    same_bits(ranks[0].state, ranks[1].state)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_samples_that_weigh_nothing_are_skipped_and_said_to(verdict):
    points = Points(8)
    points.weight.zero_()
    replica = make_replica(Weighed(points), verdict=verdict)
    before = {n: t.clone() for n, t in replica.model.state_dict().items()}
    (result,) = run_updates(replica, STEPS[:1]).results
    assert not result.applied
    assert result.reason == "all sample weights are zero"
    same_bits(before, dict(replica.model.state_dict()))


def test_on_the_device_results_come_one_update_late_and_all_at_a_flush():
    updater = Updater(make_replica(Classify(Points(LENGTH)), verdict="device"))
    arrived = []
    for samples in (0, 4, 8):
        flags = Flags(checkpoint=samples == 4)
        updater.update(SingleProcess(), STEPS[0], Turn(samples, 0.1, flags))
        arrived.append([r.flags.checkpoint for r in updater.results()])
    assert arrived == [[], [False], [True]]
    assert [r.flags.checkpoint for r in updater.flush()] == [False]
    assert updater.flush() == []
    updater.update(SingleProcess(), STEPS[0], Turn(12, 0.1, Flags()))
    assert updater.results() == []


class OnDevice(Points):
    """Points that nothing has to bring to the device."""

    def fetch(self, indices, keys):
        rows = slice(len(indices))
        return {"x": self.x[rows], "y": self.y[rows], "weight": self.weight[rows]}


class NoSynchronisation(TorchDispatchMode):
    """Fails on what would make a host wait for its device."""

    waits = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
    makes = (torch.ops.aten.lift_fresh.default,)  # torch.tensor(list), which then has to travel

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in self.waits + self.makes, func
        return func(*args, **(kwargs or {}))


# Not measured; by units; by a probe.
MEASURED = [(False, 2), (True, 2), (True, 4)]


@pytest.mark.parametrize(("measure", "bn_group"), MEASURED)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("kind", [Classify, Weighed])
def test_on_the_device_an_update_never_waits(kind, optimizer, measure, bn_group):
    task = kind(OnDevice(LENGTH), normed_network)
    options = {"bn_group": bn_group, "verdict": "device", "clip_norm": 0.1}
    updater = Updater(make_replica(task, optimizer, **options))
    flags, step = Flags(command=True, checkpoint=True, time_up=True), Settings(4, bn_group)
    updater.update(SingleProcess(), step, Turn(0, 0.1, flags, measure))
    with NoSynchronisation():
        updater.update(SingleProcess(), step, Turn(4, 0.1, flags, measure))
    results = updater.flush()
    assert [r.flags for r in results] == [flags, flags]
    assert (results[1].norms.units is not None) == measure


@pytest.mark.gpu
@pytest.mark.parametrize(("measure", "bn_group"), MEASURED)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_on_a_gpu_an_update_never_waits(optimizer, measure, bn_group):
    task = Classify(Points(LENGTH), normed_network)
    replica = make_replica(task, optimizer, bn_group=bn_group, clip_norm=0.1, device="cuda")
    updater, step = Updater(replica), Settings(4, bn_group)
    updater.update(SingleProcess(), step, Turn(0, 0.1, Flags(), measure))
    torch.cuda.set_sync_debug_mode("error")
    try:
        updater.update(SingleProcess(), step, Turn(4, 0.1, Flags(command=True), measure))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert [r.applied for r in updater.flush()] == [True, True]


def test_an_optimizer_that_cannot_skip_on_its_own_is_judged_by_the_host():
    parameters = [nn.Parameter(torch.ones(2))]
    assert can_skip_unseen(torch.optim.SGD(parameters, fused=True))
    assert not can_skip_unseen(torch.optim.SGD(parameters))
    assert not can_skip_unseen(torch.optim.SGD(parameters, momentum=0.9, dampening=0.1, fused=True))


def test_nothing_of_found_inf_stays_on_the_optimizer():
    replica = make_replica(
        Classify(Points(8), plain_network), OptimizerConfig(name="lars"), verdict="device"
    )
    run_updates(replica, STEPS[:1])
    assert replica.optimizer.found_inf is None
