"""An updater over its life: groups that change, tasks that break their contract, lost peers."""

import gc
import weakref

import pytest
import torch
from engine import (
    Classify,
    Points,
    Weighed,
    close,
    make_replica,
    normed_network,
    plain_network,
    run_ranks,
    run_updates,
    same_bits,
)
from torch import nn

from absa.collective import SingleProcess
from absa.errors import TaskError
from absa.settings import Settings
from absa.update.reducer import GradientReducer
from absa.update.scalars import Flags
from absa.update.update import Turn, Updater

STEP = Settings(6, 2)


def weights(replica):
    return {n: t.clone() for n, t in replica.model.state_dict().items()}


def hooks(replica):
    return sum(len(p._post_accumulate_grad_hooks or ()) for p in replica.parameters)


def test_a_group_that_grows_and_shrinks_changes_no_result_and_leaves_nothing(monkeypatch):
    monkeypatch.setattr(GradientReducer.__init__, "__defaults__", (16,))
    replicas = [
        make_replica(Classify(Points(40, torch.float64), normed_network), "lars", bn_group=2)
        for _ in range(3)
    ]
    updater = Updater(replicas[0])

    def update(made_by, collective, number):
        made_by.update(collective, STEP, Turn(6 * number, 0.1, Flags()))

    def newcomer(collective):
        other = Updater(replicas[1])
        with torch.no_grad():
            collective.broadcast(list(replicas[1].model.state_dict().values()), 0)
        for number in (2, 3):
            update(other, collective, number)

    def survivor(collective):
        with torch.no_grad():
            collective.broadcast(list(replicas[0].model.state_dict().values()), 0)
        for number in (2, 3):
            update(updater, collective, number)

    for number in (0, 1):
        update(updater, SingleProcess(), number)
    assert hooks(replicas[0]) == 0
    # The newcomer's momentum: the same tensors, which only the state tree would bring it.
    momentum = replicas[0].optimizer.state
    for mine, other in zip(replicas[0].parameters, replicas[1].parameters, strict=True):
        replicas[1].optimizer.state[other] = {
            k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in momentum[mine].items()
        }
    run_ranks(2, lambda c: survivor(c) if c.rank == 0 else newcomer(c))
    assert hooks(replicas[0]) > 0
    same_bits(weights(replicas[0]), weights(replicas[1]))
    for number in (4, 5):
        update(updater, SingleProcess(), number)
    assert hooks(replicas[0]) == 0
    alone = run_updates(replicas[2], [STEP] * 6)
    close(weights(replicas[0]), weights(replicas[2]))
    assert len(updater.results()) == len(alone.results)


def test_a_reducer_that_is_no_longer_needed_is_freed():
    updater = Updater(make_replica(Classify(Points(12))))
    updater.update(Pair(), STEP, Turn(0, 0.1, Flags()))
    reducer = weakref.ref(updater._reducer)
    updater.update(SingleProcess(), STEP, Turn(6, 0.1, Flags()))
    gc.collect()
    assert reducer() is None


class Pair:
    """Rank 0 of two; the other one adds nothing, or is lost."""

    rank, world_size, num_computing, superseded = 0, 2, 2, False

    def ensure_current(self):
        pass

    def __init__(self, lost_after=None):
        self.left = lost_after

    def start_sum(self, tensor):
        if self.left is not None:
            if self.left == 0:
                raise ConnectionError("connection closed by peer")
            self.left -= 1
        return self

    def wait(self):
        pass


@pytest.mark.parametrize("lost_after", [0, 1, 3])
def test_an_update_that_lost_a_peer_can_be_made_again(lost_after, monkeypatch):
    monkeypatch.setattr(GradientReducer.__init__, "__defaults__", (16,))
    replicas = [make_replica(Classify(Points(24), normed_network), bn_group=2) for _ in range(2)]
    updaters = [Updater(replica) for replica in replicas]
    for number in range(3):
        turn = Turn(6 * number, 0.1, Flags())
        if number == 1:
            with pytest.raises(ConnectionError):
                updaters[0].update(Pair(lost_after), STEP, turn)
        for updater in updaters:
            updater.update(Pair(), STEP, turn)
    same_bits(weights(replicas[0]), weights(replicas[1]))
    assert updaters[0].results() == updaters[1].results()


def test_a_closed_updater_leaves_the_model_to_others(monkeypatch):
    monkeypatch.setattr(GradientReducer.__init__, "__defaults__", (16,))
    replica = make_replica(Classify(Points(24)))
    updater = Updater(replica)
    updater.update(Pair(), STEP, Turn(0, 0.1, Flags()))
    assert hooks(replica) > 0
    updater.close()
    updater.close()
    assert hooks(replica) == 0


def spoiled(spoil, kind=Classify):
    """Return a task that goes wrong in its third pass."""

    class Spoiled(kind):
        passes = 0

        def losses(self, model, batch):
            self.passes += 1
            losses = super().losses(model, batch)
            return spoil(losses) if self.passes == 3 else losses

    return Spoiled(Points(12))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda losses: losses.mean(), r"shape \(\) for 2 samples.*\(2,\), not a mean"),
        (lambda losses: losses[:, None], r"shape \(2, 1\) for 2 samples.*shape \(2,\)$"),
        (lambda losses: losses[:1], r"shape \(1,\) for 2 samples"),
        (lambda losses: losses.tolist(), r"returned a list for 2 samples"),
        (lambda losses: losses.long(), r"torch.int64 of shape"),
        (lambda losses: losses.detach(), "does not depend on the model's parameters"),
    ],
)
def test_losses_that_break_the_contract_end_training_with_a_message(spoil, message):
    replica = make_replica(spoiled(spoil))
    updater = Updater(replica)
    with pytest.raises(TaskError, match=message):
        updater.update(SingleProcess(), STEP, Turn(0, 0.1, Flags()))
    assert updater.results() == []


def test_weights_of_another_shape_are_refused():
    class Column(Weighed):
        def weights(self, batch):
            return batch["weight"][:, None]

    with pytest.raises(TaskError, match=r"task.weights returned .*shape \(2, 1\) for 2 samples"):
        run_updates(make_replica(Column(Points(12))), [STEP])


def test_weights_may_depend_on_the_model_without_being_trained():
    class Attached(Weighed):
        def weights(self, batch):
            return batch["weight"] * self.model[0].bias[0].exp()

        def losses(self, model, batch):
            self.model = model
            return super().losses(model, batch)

    a, b = make_replica(Attached(Points(12))), make_replica(Weighed(Points(12)))
    run_updates(a, [STEP])
    run_updates(b, [STEP])
    close(weights(a), weights(b))


def test_sparse_gradients_are_refused_on_one_rank_too():
    def embedding():
        return nn.Sequential(nn.Embedding(6, 3, sparse=True))

    class Look(Classify):
        def losses(self, model, batch):
            return model(batch["y"]).sum(1)

    with pytest.raises(TaskError, match="sparse=False"):
        run_updates(make_replica(Look(Points(12), embedding)), [STEP])


def test_complex_parameters_are_refused():
    def network():
        model = plain_network()
        model.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        model.to = lambda *_: model
        return model

    with pytest.raises(TaskError, match=r"shape \(2,\) is torch.complex64.*must be real"):
        Updater(make_replica(Classify(Points(12), network), "adamw"))
