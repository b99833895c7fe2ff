"""Process groups of a generation, their waits and their failures; ranks are threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from cluster.elastic.group import _LOOK_S, ElasticGroup, connect, rehearse
from cluster.elastic.host import _store
from cluster.elastic.under_way import OnHost
from cluster.ray_failure import LostPeerError

IP = "127.0.0.1"
CPU = torch.device("cpu")


class Line:
    """As much of a `Membership` as a group needs."""

    def __init__(self, store_port: int) -> None:
        self._port = store_port
        self.ip = IP
        self.broken = threading.Event()
        self.num_waits = 0

    def store(self):
        from torch._C._distributed_c10d import TCPStore

        return TCPStore(IP, self._port, is_master=False, wait_for_workers=False)

    def is_broken(self, generation: int) -> bool:
        return self.broken.is_set()

    def is_superseded(self, generation: int) -> bool:
        return False

    def waiting(self):
        self.num_waits += 1
        return threading.Lock()


@pytest.fixture
def lines():
    store, port = _store(IP)
    yield [Line(port), Line(port)]
    del store


def pair(lines, generation: int = 0) -> list[ElasticGroup]:
    """Return both ends of a group of two."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda r: connect(lines[r], generation, r, 2, CPU), range(2)))


def both(work) -> list:
    """Do something on both ranks at once."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, range(2)))


def test_ranks_add_and_tell_one_another(lines):
    groups = pair(lines)

    def work(rank):
        group, total = groups[rank], torch.tensor([1.0 + rank])
        group.start_sum(total).wait()
        told = torch.full((2, 3), float(rank)).t()  # not contiguous
        group.broadcast([told], source=1)
        value = group.broadcast_value({"from": rank, "long": "x" * 100_000}, source=1)
        sent = torch.full((4,), 7.0)
        pending = group.start_send(sent, 1) if rank == 0 else group.start_receive(sent.zero_(), 0)
        pending.wait()
        return total.item(), told.tolist(), value["from"], sent.tolist()

    assert both(work) == [(3.0, [[1.0, 1.0]] * 3, 1, [7.0] * 4)] * 2
    assert all(not group.is_busy for group in groups)


def test_a_group_of_one_needs_nobody(lines):
    group = connect(lines[0], 0, 0, 1, CPU)
    tensor = torch.ones(2)
    group.start_sum(tensor).wait()
    group.broadcast([tensor], source=0)

    assert (group.broadcast_value("mine", source=0), tensor.tolist()) == ("mine", [1.0, 1.0])
    group.leave()


def test_a_sum_whose_peer_hangs_ends_when_the_generation_is_broken(lines):
    alone, silent = pair(lines)
    pending = alone.start_sum(torch.ones(100_000))
    lines[0].broken.set()
    with pytest.raises(LostPeerError, match="generation 0 is over"):
        pending.wait()

    assert alone.is_busy
    alone.leave()  # does not wait for the one that hangs
    lines[0].broken.clear()
    for group in pair(lines, generation=1):
        assert not group.is_busy
    silent.leave()


def test_the_loss_of_a_peer_is_a_lost_peer(lines):
    groups = pair(lines)
    groups[1].leave()
    with pytest.raises(LostPeerError):
        groups[0].start_sum(torch.ones(100_000)).wait()


def test_to_connect_with_somebody_who_never_comes_ends_with_the_generation(lines):
    lines[0].broken.set()
    with pytest.raises(LostPeerError, match="is over"):
        connect(lines[0], 0, 0, 2, CPU)


def test_generations_follow_one_another_in_one_process(lines):
    for generation in range(5):
        groups = pair(lines, generation)
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(_sum, groups)) == [2.0, 2.0]
        for group in groups:
            group.leave()


def test_a_rehearsal_leaves_nothing(lines):
    rehearse(IP, CPU)


def _sum(group: ElasticGroup) -> float:
    tensor = torch.ones(1)
    group.start_sum(tensor).wait()
    return tensor.item()


def test_a_message_may_take_longer_to_come_than_a_wait_looks_up(lines):
    groups = pair(lines)
    received = torch.zeros(8_000_000)  # more than what the system takes from a sender at once
    pending = groups[1].start_receive(received, 0)
    # The other rank is busy for longer than that; so it was with the sum before.
    sent = torch.ones(8_000_000)
    late = threading.Timer(5 * _LOOK_S, lambda: groups[0].start_send(sent, 1).wait())
    late.start()
    pending.wait()
    late.join()

    assert received.sum() == len(received)
    assert not groups[1].is_busy
    assert both(lambda rank: _sum(groups[rank])) == [2.0, 2.0]


def test_a_message_that_never_comes_ends_with_the_generation(lines):
    groups = pair(lines)
    pending = groups[0].start_receive(torch.zeros(4), 1)
    lines[0].broken.set()
    with pytest.raises(LostPeerError, match="is over"):
        pending.wait()

    assert groups[0].is_busy
    groups[0].leave()
    groups[1].leave()  # this rank dies, which is what frees the other


def test_a_sum_that_ends_while_a_wait_looks_up_is_no_failure():
    class JustInTime:
        """A sum that has ended by the time that somebody asks, but not in time for the wait."""

        def __init__(self) -> None:
            self.num_waits = 0

        def wait(self, timeout=None) -> bool:
            self.num_waits += 1
            if self.num_waits == 1:
                raise RuntimeError("Wait timeout")
            return True

        def is_completed(self) -> bool:
            return True

    assert OnHost(JustInTime()).has_ended(_LOOK_S)
