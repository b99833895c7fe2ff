"""An update against the loop that one writes by hand."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from engine import (
    Classify,
    Points,
    Weighed,
    close,
    make_replica,
    normed_network,
    plain_network,
    run_updates,
)

from absa.optim.config import OptimizerConfig
from absa.optim.lars import LARS
from absa.order import SampleOrder, next_range
from absa.settings import Settings

NUM_TRAIN, BATCH, NUM_UPDATES = 22, 8, 7  # an epoch ends with a batch of 6
PEERS = {
    "sgd": partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4, foreach=False),
    "adamw": partial(torch.optim.AdamW, weight_decay=1e-2, foreach=False),
    "lars": partial(LARS, exclude="one_dimensional"),
}


def by_hand(replica, mean_loss, peer="sgd", clip_norm=None):
    """Train a copy of the replica's model by a plain loop; return its weights and the norms."""
    model = copy.deepcopy(replica.model)
    optimizer = PEERS[peer](model.parameters(), lr=0.1)
    order, samples, source, norms = SampleOrder(3, NUM_TRAIN), 0, replica.train, []
    for _ in range(NUM_UPDATES):
        epoch, start, stop = next_range(samples, BATCH, NUM_TRAIN)
        rows = order.indices(epoch, start, stop)
        samples += stop - start
        optimizer.zero_grad()
        losses = F.cross_entropy(model(source.x[rows]), source.y[rows], reduction="none")
        mean_loss(losses, source.weight[rows]).backward()
        bound = clip_norm or float("inf")
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), bound).item())
        optimizer.step()
    return dict(model.state_dict()), norms


def mean(losses, weights):
    return losses.mean()


def weighted_mean(losses, weights):
    return (losses * weights).sum() / weights.sum()


def model_part(state):
    return {name: tensor for name, tensor in state.items() if "/" not in name}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("optimizer", PEERS)
def test_updates_are_those_of_a_plain_loop(optimizer, dtype):
    replica = make_replica(Classify(Points(NUM_TRAIN, dtype)), optimizer)
    expected, norms = by_hand(replica, mean, optimizer)
    trained = run_updates(replica, [Settings(BATCH, 3)] * NUM_UPDATES)
    close(model_part(trained.state), expected)
    assert [r.gradient_norm for r in trained.results] == pytest.approx(norms, rel=1e-5)
    assert [r.num_samples for r in trained.results] == [8, 8, 6, 8, 8, 6, 8]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_group_of_the_whole_batch_is_plain_batch_norm(dtype):
    task = Classify(Points(NUM_TRAIN, dtype), normed_network)
    expected, _ = by_hand(make_replica(task), mean)
    trained = run_updates(
        make_replica(task, bn_group=BATCH), [Settings(BATCH, BATCH)] * NUM_UPDATES
    )
    close(model_part(trained.state), expected)


@pytest.mark.parametrize("clip_norm", [None, 0.3])
@pytest.mark.parametrize(("kind", "rule"), [(Classify, mean), (Weighed, weighted_mean)])
def test_clipping_and_weights_are_those_of_a_plain_loop(kind, rule, clip_norm):
    replica = make_replica(kind(Points(NUM_TRAIN, torch.float64)), clip_norm=clip_norm)
    expected, norms = by_hand(replica, rule, clip_norm=clip_norm)
    trained = run_updates(replica, [Settings(BATCH, 3)] * NUM_UPDATES)
    close(model_part(trained.state), expected)
    # The norm that is told is the one before clipping.
    assert [r.gradient_norm for r in trained.results] == pytest.approx(norms, rel=1e-9)


def test_the_loss_is_the_weighted_mean_over_the_update():
    replica = make_replica(Weighed(Points(NUM_TRAIN, torch.float64)))
    rows = replica.order.indices(0, 0, BATCH)
    source = replica.train
    losses = F.cross_entropy(replica.model(source.x[rows]), source.y[rows], reduction="none")
    expected = weighted_mean(losses, source.weight[rows]).item()
    (result,) = run_updates(replica, [Settings(BATCH, 3)]).results
    assert result.loss == pytest.approx(expected, rel=1e-12)
    assert result.weight == source.weight[rows].sum().item()


def test_parameters_that_the_loss_does_not_use_get_a_zero_gradient():
    def with_spare():
        network = plain_network()
        network.spare = torch.nn.Parameter(torch.ones(3))
        network.forward = lambda x: network[2](network[1](network[0](x)))
        return network

    replica = make_replica(
        Classify(Points(NUM_TRAIN), with_spare), OptimizerConfig(name="sgd", weight_decay=0.5)
    )
    run_updates(replica, [Settings(BATCH, BATCH)])
    torch.testing.assert_close(replica.model.spare, torch.full((3,), 1 - 0.1 * 0.5))


def test_losses_in_bfloat16_are_reduced_in_float32():
    """The gradient of a sum of 7 equal losses over 7; in bfloat16, 1 / 7 is off by 0.3 %."""

    class Low(Classify):
        def losses(self, model, batch):
            assert torch.is_autocast_enabled("cpu")
            return model[2].bias[0].bfloat16().expand(len(batch["y"]))

    replica = make_replica(
        Low(Points(7)), OptimizerConfig(name="sgd", weight_decay=0), precision="bf16"
    )
    (result,) = run_updates(replica, [Settings(7, 7)]).results
    assert result.gradient_norm == pytest.approx(1, rel=1e-6)


def test_bfloat16_leaves_weights_and_gradients_in_float32():
    points = Points(NUM_TRAIN)
    high = run_updates(make_replica(Classify(points)), [Settings(7, 7)] * 3)
    low = run_updates(make_replica(Classify(points), precision="bf16"), [Settings(7, 7)] * 3)
    assert all(tensor.dtype == torch.float32 for tensor in low.state.values())
    losses = [[r.loss for r in trained.results] for trained in (low, high)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    assert losses[0] != losses[1]
