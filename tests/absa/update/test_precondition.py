"""Gradients as the optimizer sees them."""

import copy
from dataclasses import replace

import pytest
import torch
from engine import (
    Classify,
    Points,
    ThreadRank,
    Weighed,
    make_replica,
    normed_network,
    plain_network,
    run_ranks,
    run_updates,
    same_bits,
)
from torch import nn

from absa.noise_scale.sample import NormSample
from absa.optim.config import OptimizerConfig
from absa.optim.lars import LARS
from absa.settings import Settings
from absa.update.precondition import by_trust, elementwise, trust_options
from absa.update.scalars import Flags
from absa.update.update import Turn, Updater


def adam_factors(replica):
    """Return Adam's factors as the paper has them, each tensor by itself."""
    found = []
    for parameter in replica.parameters:
        state = replica.optimizer.state[parameter]
        second = state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))
        found.append(1 / (second.sqrt() + 1e-8))
    return found


def own_gradients(replica, rows):
    """Return the gradient of each row's weighted loss, and the weights."""
    source, task = replica.train, replica.task
    found, weights = [], []
    for row in rows:
        batch = {
            "x": source.x[row : row + 1],
            "y": source.y[row : row + 1],
            "weight": source.weight[row : row + 1],
        }
        weight = task.weights(batch).item() if isinstance(task, Weighed) else 1.0
        loss = task.losses(replica.model, batch).sum() * weight
        found.append(torch.autograd.grad(loss, replica.parameters))
        weights.append(weight)
    return found, weights


def summed(gradients):
    return [sum(tensors) for tensors in zip(*gradients, strict=True)]


def squares(tensors, factors):
    pairs = zip(tensors, factors, strict=True)
    return [(tensor * factor).square().sum().item() for tensor, factor in pairs]


@pytest.mark.parametrize("kind", [Classify, Weighed])
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_adams_sums_are_those_of_gradients_taken_one_by_one(kind, num_ranks):
    points = Points(40, torch.float64)
    points.weight += 0.5
    replicas = [make_replica(kind(points), "adamw") for _ in range(num_ranks)]
    befores = []

    def work(collective):
        replica = replicas[collective.rank]
        updater, results = Updater(replica), []
        for number in range(3):
            if collective.rank == 0:
                befores.append(copy.deepcopy((replica.model, replica.optimizer.state_dict())))
            turn = Turn(6 * number, 0.1, Flags(), measure=True)
            updater.update(collective, Settings(6, 3), turn)
            results += updater.results()
        return results

    results = run_ranks(num_ranks, work)[0]
    # A state that has not stepped yet has nothing to multiply with.
    assert results[0].norms.preconditioned is None
    assert results[0].norms.units is not None
    replica = replicas[0]
    model, state = befores[2]
    replica.model.load_state_dict(model.state_dict())
    replica.optimizer.load_state_dict(state)
    factors = adam_factors(replica)
    gradients, weights = own_gradients(replica, replica.order.indices(0, 12, 18))
    weight = sum(weights)
    gradient, units = results[2].norms.preconditioned
    expected = [square / weight**2 for square in squares(summed(gradients), factors)]
    assert gradient == pytest.approx(expected, rel=1e-9)
    halves = [
        [square / sum(weights[part]) for square in squares(summed(gradients[part]), factors)]
        for part in (slice(3), slice(3, 6))
    ]
    assert units == pytest.approx([a + b for a, b in zip(*halves, strict=True)], rel=1e-9)


def test_a_probe_is_seen_as_adam_sees_it():
    replica = make_replica(Classify(Points(40, torch.float64), normed_network), "adamw", bn_group=4)
    results = run_updates(replica, [Settings(4, 4)] * 2, measure=True).results
    sample = results[1].norms
    plain = sum(sample.units) - 4 * sum(sample.gradient)
    gradient, units = sample.preconditioned
    assert sum(units) - 4 * sum(gradient) > 0
    assert sum(units) - 4 * sum(gradient) != pytest.approx(plain, rel=0.1)


class Joined(ThreadRank):
    """A rank that takes no share and has the optimizer's state only when sums are done."""

    givers: dict

    @property
    def num_computing(self):
        return 1

    def ensure_current(self):
        giver, taker = self.givers[0], self.givers[self.rank]
        if giver is taker:
            return
        self.meeting.barrier.wait()
        with torch.no_grad():
            taker.model.load_state_dict(giver.model.state_dict())
        taker.optimizer.load_state_dict(copy.deepcopy(giver.optimizer.state_dict()))
        self.meeting.barrier.wait()


class Giver(Joined):
    """The rank whose state it is."""

    def ensure_current(self):
        self.meeting.barrier.wait()
        self.meeting.barrier.wait()


def test_a_rank_that_has_just_joined_tells_the_same():
    replicas = [make_replica(Classify(Points(40)), "adamw") for _ in range(2)]
    run_updates(replicas[0], [Settings(6, 3)] * 2)

    def work(collective):
        kind = Giver if collective.rank == 0 else Joined
        joined = kind(collective.rank, 2, collective.meeting, [])
        kind.givers = dict(enumerate(replicas))
        updater = Updater(replicas[collective.rank])
        updater.update(joined, Settings(6, 3), Turn(12, 0.1, Flags(), measure=True))
        return updater.results()

    giver, joined = run_ranks(2, work)
    assert giver == joined
    assert giver[0].norms.preconditioned is not None
    same_bits(*(dict(replica.model.state_dict()) for replica in replicas))


@pytest.mark.parametrize("fused", [False, True])
def test_factors_are_those_of_the_paper(fused):
    replica = make_replica(Classify(Points(40, torch.float64)), "adamw")
    for group in replica.optimizer.param_groups:
        group["fused"] = fused
    assert elementwise(replica.optimizer, replica.parameters) is None
    assert not replica.optimizer.state
    run_updates(replica, [Settings(6, 3)] * 2)
    found = elementwise(replica.optimizer, replica.parameters)
    for mine, expected in zip(found, adam_factors(replica), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
def test_others_multiply_no_element_with_a_factor_of_its_own(optimizer):
    replica = make_replica(Classify(Points(40)), optimizer)
    results = run_updates(replica, [Settings(6, 3)] * 2, measure=True).results
    assert elementwise(replica.optimizer, replica.parameters) is None
    assert [result.norms.preconditioned for result in results] == [None, None]


@pytest.mark.parametrize("verdict", ["host", "device"])
def test_with_lars_a_measured_update_tells_the_weights_before_it(verdict):
    replica = make_replica(Classify(Points(40)), "lars", verdict=verdict)
    before = [parameter.detach().square().sum().item() for parameter in replica.parameters]
    first, second = run_updates(replica, [Settings(6, 3)] * 2, measure=True).results
    assert first.weights == pytest.approx(before, rel=1e-5)
    assert second.weights != first.weights
    plain = make_replica(Classify(Points(40)), "lars", verdict=verdict)
    assert run_updates(plain, [Settings(6, 3)]).results[0].weights is None


@pytest.mark.parametrize("adaptation", ["scale", "clip"])
def test_trust_ratios_are_those_that_lars_steps_with(adaptation):
    """One step of LARS on the earlier gradient shows the ratio of every tensor."""
    lr, wide = 0.5, torch.float64
    config = OptimizerConfig(
        name="lars", weight_decay=0.0, momentum=0.0, adaptation=adaptation, trust_coefficient=0.1
    )
    replica = make_replica(Classify(Points(40, wide), plain_network), config)
    optimizer, parameters = replica.optimizer, replica.parameters
    generator = torch.Generator().manual_seed(0)
    weights, gradient = [], []
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=wide)
        weights.append(parameter.detach().square().sum().item())
        gradient.append(parameter.grad.square().sum().item())
    before = [parameter.detach().clone() for parameter in parameters]
    for group in optimizer.param_groups:
        group["lr"] = lr
    options = trust_options(optimizer, parameters)
    optimizer.step()
    ones = tuple(1.0 for _ in parameters)
    sample = NormSample(6, 6.0, ones, tuple(2 * one for one in ones), 2.0)
    seen = by_trust(sample, (tuple(weights), tuple(gradient)), options, lr)
    assert replace(seen, preconditioned=None) == sample
    for each, twice, old, parameter in zip(*seen.preconditioned, before, parameters, strict=True):
        step = (old - parameter.detach()) / (lr * parameter.grad)
        assert each == pytest.approx(step.mean().item() ** 2, rel=1e-9)
        assert twice == pytest.approx(2 * each, rel=1e-12)


def test_without_units_there_is_nothing_to_precondition():
    sample = NormSample(6, 6.0, (1.0,))
    optimizer = LARS([nn.Parameter(torch.ones(2, 2))], 0.1)
    parameters = optimizer.param_groups[0]["params"]
    options = trust_options(optimizer, parameters)
    assert by_trust(sample, ((4.0,), (1.0,)), options, 0.1) is sample
    assert trust_options(torch.optim.SGD(parameters), parameters) == (None,)
