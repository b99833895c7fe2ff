"""A rehearsed update leaves nothing behind."""

import pytest
import torch
from engine import (
    WIDTH,
    Classify,
    Explodes,
    Points,
    Weighed,
    dropout_network,
    make_replica,
    same_bits,
)
from torch import nn

from absa.collective import SingleProcess
from absa.errors import TaskError
from absa.settings import Settings
from absa.update.scalars import Flags
from absa.update.update import Turn, Updater

STEP = Settings(6, 2)


class Counts(nn.Module):
    """Counts its training passes, as a module of a user's may."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.passes += 1
        return x * (1 + 0.01 * self.passes.to(x.dtype))


def counting_network() -> nn.Sequential:
    return nn.Sequential(Counts(), nn.Linear(WIDTH, 3))


def after_updates(replica, rehearsals=()):
    updater = Updater(replica)
    for world_size in rehearsals:
        updater.rehearse(STEP, world_size)
    for number in range(3):
        updater.update(SingleProcess(), STEP, Turn(6 * number, 0.1, Flags()))
    updater.close()
    return {name: tensor.clone() for name, tensor in replica.model.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["sgd", "lars"])
@pytest.mark.parametrize(
    ("task", "network", "group"),
    [(Classify, dropout_network, 2), (Weighed, counting_network, None)],
)
def test_updates_after_it_are_those_without_it(task, network, group, optimizer):
    def replica():
        return make_replica(task(Points(40, noise=0.1), network), optimizer, bn_group=group)

    same_bits(after_updates(replica(), rehearsals=(1, 3, 9)), after_updates(replica()))


def test_one_that_fails_leaves_nothing_either():
    replica = make_replica(Classify(Points(40), counting_network))
    before = {name: tensor.clone() for name, tensor in replica.model.state_dict().items()}
    replica.task.losses = lambda model, batch: model(batch["x"]).mean()
    with pytest.raises(TaskError):
        Updater(replica).rehearse(STEP, 1)

    same_bits(dict(replica.model.state_dict()), before)
    assert all(parameter.grad is None for parameter in replica.parameters)


def test_a_loss_that_is_not_finite_is_no_matter():
    replica = make_replica(Explodes(Points(40), {1}), bn_group=2)
    before = {name: tensor.clone() for name, tensor in replica.model.state_dict().items()}
    Updater(replica).rehearse(STEP, 2)

    same_bits(dict(replica.model.state_dict()), before)
