"""Members meet over the coordinator's store before they connect; members are threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from absa.errors import DataError
from cluster.elastic.host import Host
from cluster.elastic.meeting import Card, ensure_same_data, meet
from cluster.elastic.membership import Membership
from cluster.elastic.protocol.coordinator import Limits
from cluster.elastic.protocol.member import Holding
from cluster.elastic.protocol.messages import Announcement
from cluster.ray_failure import LostPeerError

IP = "127.0.0.1"
SECOND_FIRST = Announcement(4, 0, (1, 0), restores=False, breaks=False)
CARDS = [Card(Holding(0, 3), "a", [10, "accuracy"]), Card(None, "b", [10, "accuracy"])]


@pytest.fixture
def host():
    with Host(Limits(), 2, IP, lambda change: None) as host:
        yield host


@pytest.fixture
def members(host):
    made = [Membership(host.invitation, label, IP) for label in ("zero", "one")]
    yield made
    for member in made:
        member.close()


def test_all_learn_of_all_in_order_of_ranks(members):
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda m, card: meet(m, SECOND_FIRST, card), members, CARDS))

    assert found == [{1: CARDS[1], 0: CARDS[0]}] * 2
    assert list(found[0]) == [1, 0]


def test_a_meeting_to_which_somebody_does_not_come_ends_with_the_generation(members):
    hangs_up = threading.Timer(0.05, members[0].close)
    hangs_up.start()
    with pytest.raises(LostPeerError, match="generation 4 is over"):
        meet(members[0], SECOND_FIRST, CARDS[0])
    hangs_up.join()


def test_a_store_that_is_lost_on_the_way_is_a_lost_peer(host, members, capfd):
    closes = threading.Timer(0.05, host.close)
    closes.start()
    with pytest.raises(LostPeerError):
        meet(members[0], SECOND_FIRST, CARDS[0])
    closes.join()


def test_who_sees_other_data_than_the_others_is_told_both():
    other = Card(None, "b", [11, "accuracy"])
    ensure_same_data({0: CARDS[0], 1: CARDS[1]}, source=0, mine=1)
    with pytest.raises(DataError, match=r"\[11, 'accuracy'\], the others \[10, 'accuracy'\]"):
        ensure_same_data({0: CARDS[0], 1: other}, source=0, mine=1)
