"""A worker's own steps, one at a time; whole runs are in test_processes."""

import pytest
import torch
from elastic_runs import witness_job

from absa.collective import SingleProcess
from absa.run_folder import new_run
from cluster.elastic.host import Host
from cluster.elastic.meeting import Card
from cluster.elastic.membership import Membership
from cluster.elastic.nobody import NoBoundary, NoSaver
from cluster.elastic.protocol.coordinator import Limits
from cluster.elastic.protocol.member import Holding
from cluster.elastic.protocol.messages import Announcement
from cluster.elastic.worker import Worker, _Formed
from cluster.ray_failure import LostPeerError

IP = "127.0.0.1"


class Nothing:
    """Nothing around a worker."""

    node = "here"

    def enter(self, place):
        return NoBoundary(), NoSaver()

    def flush(self) -> None:
        pass


class Torn(SingleProcess):
    """A group whose other rank dies while it hands over what this one lacks."""

    generation, device = 1, torch.device("cpu")

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def broadcast(self, tensors, source) -> None:
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(7.0)
        raise LostPeerError("it died")


@pytest.fixture
def worker(tmp_path):
    job = witness_job(tmp_path)
    with Host(Limits(), 1, IP, lambda change: None) as host:
        membership = Membership(host.invitation, "w", IP)
        yield Worker(
            job, new_run(job.storage, job.name), membership, torch.device("cpu"), Nothing()
        )
        membership.close()


def test_who_has_half_of_a_state_does_not_begin_anew_from_it(worker):
    first = [parameter.clone() for parameter in worker._composed.replica.model.parameters()]
    worker._formed = _Formed(
        Announcement(1, 0, (7, worker._membership.worker), False, False),
        {7: Card(Holding(0, 3), "there", [])},
        Torn(worker._composed.replica.model),
    )
    with pytest.raises(LostPeerError):
        worker._transfer(7)

    # All others are lost, and there is no checkpoint.
    alone = Announcement(2, 1, (worker._membership.worker,), True, True)
    worker._formed = _Formed(alone, {}, SingleProcess())
    worker._restore()

    now = worker._composed.replica.model.parameters()
    assert all(torch.equal(a, b) for a, b in zip(first, now, strict=True))
    worker._loop.close()
