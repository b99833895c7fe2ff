import pytest
import ray
import torch
import torch.distributed as dist
from ray.exceptions import ActorDiedError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from cluster.lost_peer import GroupOfRay, may_pass
from cluster.ray_failure import LostPeerError, why_lost


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (LostPeerError("closed by peer"), True),
        (dist.DistBackendError("NCCL"), True),
        (ray.exceptions.RayError("the controller is gone"), True),
        (ConnectionResetError(), True),
        (RuntimeError("a size mismatch of the user's"), False),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
        (KeyError("x"), False),
        (FileNotFoundError("x"), False),
    ],
)
def test_only_what_another_group_may_cure_is_tried_again(error, passes):
    assert may_pass(error) is passes


class BrokenGroup:
    def rank(self) -> int:
        return 0

    def size(self) -> int:
        return 2


def test_whatever_fails_in_a_collective_is_a_lost_peer(monkeypatch):
    class Work:
        def wait(self):
            raise RuntimeError("Connection closed by peer")

    group = GroupOfRay(BrokenGroup())
    monkeypatch.setattr(dist, "all_reduce", lambda *_, **__: Work())
    monkeypatch.setattr(BrokenGroup, "send", lambda *_: Work(), raising=False)
    monkeypatch.setattr(BrokenGroup, "recv", lambda *_: Work(), raising=False)
    for pending in (
        group.start_sum(torch.zeros(1)),
        group.start_send(torch.zeros(1), 1),
        group.start_receive(torch.zeros(1), 1),
    ):
        with pytest.raises(LostPeerError, match="closed by peer"):
            pending.wait()
    monkeypatch.undo()

    def fail(*_, **__):
        raise RuntimeError("Connection reset by peer")

    for name in ("all_reduce", "broadcast", "broadcast_object_list"):
        monkeypatch.setattr(dist, name, fail)
    for name in ("send", "recv"):
        monkeypatch.setattr(BrokenGroup, name, fail, raising=False)
    monkeypatch.setattr(dist, "get_global_rank", lambda group, rank: rank)
    for call in (
        lambda: group.broadcast([torch.zeros(1)], 0),
        lambda: group.broadcast_value(1, 0),
        lambda: group.start_sum(torch.zeros(1)),
        lambda: group.start_send(torch.zeros(1), 1),
        lambda: group.start_receive(torch.zeros(1), 1),
    ):
        with pytest.raises(LostPeerError, match="reset by peer"):
            call()


def failed(**by_rank: Exception):
    failures = {int(rank.removeprefix("rank")): error for rank, error in by_rank.items()}
    return WorkerGroupError("a wall of text", failures)


def test_the_rank_that_knows_why_is_shown_and_not_those_that_lost_it():
    wall = "Traceback (most recent call last):\n  File 'x'\ncluster.ray_failure.LostPeerError: gone"
    text = why_lost(failed(rank0=RuntimeError(wall), rank1=OSError("node died\nand much more")))

    assert text.splitlines()[-1] == "  rank 1: node died"
    assert "workers.max_restarts" in text


def test_when_all_lost_one_another_all_are_shown():
    text = why_lost(failed(rank0=LostPeerError("a"), rank1=LostPeerError("b")))

    assert text.splitlines()[-2:] == ["  rank 0: a", "  rank 1: b"]


def test_an_end_without_an_error_is_told_too():
    assert "--resume" in why_lost(None)
    assert why_lost(ValueError("\x1b[36mred\x1b[39m\nmore")) == "ValueError: red"


def test_the_loss_of_a_process_is_told_without_the_words_of_a_health_check():
    lost = WorkerHealthCheckFailedError("a wall of text", OSError("it died\nand much more"))

    assert why_lost(failed(rank0=lost)).splitlines()[-1] == "  rank 0: it died"


def test_the_loss_of_the_process_that_controls_the_workers_is_told_as_that():
    text = why_lost(ActorDiedError())

    assert "the process that controls the workers was lost" in text
    assert "--resume" in text
