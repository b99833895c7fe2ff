"""An update that cannot be cut is compared with other samples, and nothing of that stays."""

import pytest
import torch
from engine import (
    WIDTH,
    Classify,
    Points,
    Weighed,
    make_replica,
    normed_network,
    plain_network,
    run_ranks,
    run_updates,
)

from absa.settings import Settings
from absa.update.measuring import probe_position


def gradient(replica, rows):
    """Return, per tensor, the gradient of the weighted mean loss of these rows, and the weight."""
    source, task = replica.train, replica.task
    batch = {"x": source.x[rows], "y": source.y[rows], "weight": source.weight[rows]}
    losses = task.losses(replica.model, batch)
    weights = task.weights(batch) if isinstance(task, Weighed) else torch.ones_like(losses)
    found = torch.autograd.grad(torch.dot(losses, weights) / weights.sum(), replica.parameters)
    return found, weights.sum().item()


@pytest.mark.parametrize("kind", [Classify, Weighed])
@pytest.mark.parametrize("num_ranks", [1, 2])
@pytest.mark.parametrize(("network", "batch"), [(normed_network, 6), (plain_network, 1)])
def test_the_covariance_is_that_of_two_gradients(kind, num_ranks, network, batch):
    points = Points(40, torch.float64)
    points.weight += 0.5
    bn_group = batch if network is normed_network else None
    replicas = [make_replica(kind(points, network), bn_group=bn_group) for _ in range(num_ranks)]
    steps = [Settings(batch, batch)] * 3
    ranks = run_ranks(
        num_ranks, lambda c: run_updates(replicas[c.rank], steps, c, lr=0.0, measure=True).results
    )
    assert all(repr(rank) == repr(ranks[0]) for rank in ranks)
    replica = replicas[0]
    for number, result in enumerate(ranks[0]):
        start = number * batch
        g, weight = gradient(replica, replica.order.indices(0, start, start + batch))
        other = probe_position(start, start + batch, 40)
        h, other_weight = gradient(replica, replica.order.indices(0, other, other + batch))
        sample = result.norms
        assert (sample.num_samples, sample.weight) == (batch, pytest.approx(weight))
        assert sample.gradient == pytest.approx([t.square().sum().item() for t in g], rel=1e-9)
        more = sample.samples_per_weight - batch / weight
        assert more == pytest.approx(batch / weight, rel=1e-9)
        for a, square, mine, theirs in zip(sample.units, sample.gradient, g, h, strict=True):
            trace = (mine - theirs).square().sum().item() / (
                batch / weight**2 + batch / other_weight**2
            )
            assert (a - weight * square) / more == pytest.approx(trace, rel=1e-9)


def test_a_probe_that_weighs_nothing_says_nothing():
    points = Points(40)
    points.weight.fill_(1.0)
    replica = make_replica(Weighed(points, normed_network), bn_group=4)
    points.weight[replica.order.indices(0, probe_position(0, 4, 40), 40)] = 0.0
    (result,) = run_updates(replica, [Settings(4, 4)], measure=True).results
    assert result.applied
    assert result.norms.units is None


def test_a_probe_that_is_not_finite_leaves_the_update_alone():
    points = Points(40)
    replica = make_replica(Classify(points, normed_network), bn_group=4)
    points.x[replica.order.indices(0, probe_position(0, 4, 40), 40)] = float("inf")
    (result,) = run_updates(replica, [Settings(4, 4)], measure=True).results
    assert result.applied
    assert result.norms.units is None
    assert all(bool(t.isfinite().all()) for t in replica.model.state_dict().values())


def test_too_few_data_leave_the_update_unmeasured():
    replica = make_replica(Classify(Points(7), normed_network), bn_group=4)
    (result,) = run_updates(replica, [Settings(4, 4)], measure=True).results
    assert result.norms.units is None
    assert len(replica.train.fetched) == 1


class Replaces(torch.nn.Module):
    """Counts its training passes in a tensor that it makes anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.passes = self.passes + 1
        return x * (1 + 0.01 * self.passes.to(x.dtype))


def test_buffers_that_a_model_replaces_are_put_back():
    def network():
        return torch.nn.Sequential(Replaces(), *normed_network())

    replica = make_replica(Classify(Points(40), network), bn_group=4)
    run_updates(replica, [Settings(4, 4)] * 3, measure=True)
    assert replica.model[0].passes == 3
    assert replica.train.x.shape[1] == WIDTH
