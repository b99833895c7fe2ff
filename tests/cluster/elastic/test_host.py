"""The coordinator's host and its members, over real connections, in one process."""

import queue
import socket
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

import pytest

from absa.errors import ResizeError
from cluster.elastic.coordinator import Limits, Note
from cluster.elastic.host import Host
from cluster.elastic.invitation import Invitation
from cluster.elastic.member import Form, Holding, Restore, Train, Transfer
from cluster.elastic.membership import Membership
from cluster.elastic.messages import Announcement
from cluster.ray_failure import LostPeerError

IP = "127.0.0.1"
LIMITS = Limits(gather_s=0.0)


@pytest.fixture
def changes():
    return queue.SimpleQueue()


@pytest.fixture
def host(changes):
    with Host(LIMITS, 1, IP, changes.put, first_lineage=3) as host:
        yield host


@pytest.fixture
def dial(host):
    """Dial in under a label; hang up at the end."""
    members: list[Membership] = []

    def dial(label: str) -> Membership:
        members.append(Membership(host.invitation, label, IP))
        return members[-1]

    yield dial
    for member in members:
        member.close()


def begin(member: Membership) -> Announcement:
    """Let a lone first worker train."""
    member.warmed_up()
    form = member.next_action()
    assert isinstance(form, Form)
    generation = form.announcement.generation
    member.formed(generation, {member.worker: None})
    assert member.next_action() == Restore(generation)
    member.settled(generation, Holding(form.announcement.lineage, 0))
    assert member.next_action() == Train(generation)
    return form.announcement


def until(condition):
    """Wait for what another thread does."""
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it never came")


def test_a_lone_worker_begins_a_lineage_and_is_the_only_member(host, dial, changes):
    announcement = begin(dial("one"))

    assert (announcement.members, announcement.restores) == ((0,), True)
    until(lambda: host.orders().members == ("one",))
    orders = host.orders()
    assert (orders.missing, orders.end, orders.workers) == (0, frozenset(), {"one": 0})
    assert changes.get() == announcement


def test_a_worker_hears_the_number_of_the_run_s_lineage(dial):
    assert dial("one").first_lineage == 3


def test_workers_that_are_wanted_are_missing_until_they_dial_in(host, dial):
    assert host.orders().missing == 1
    begin(dial("one"))
    assert host.orders().missing == 0
    host.wish(3)
    assert host.orders().missing == 2
    dial("two")
    assert host.orders().missing == 1


def grow(host, dial) -> tuple[Membership, Membership]:
    """Return two members that are both about to hand over."""
    one = dial("one")
    begin(one)
    host.wish(2)
    two = dial("two")
    two.warmed_up()
    until(lambda: one.is_superseded(0))
    one.wait_for_lease()
    one.ensure_current(0)  # until the boundary it trains on
    one.left_for_newer(0)
    holdings = {0: Holding(0, 7), 1: None}
    for member in (one, two):
        form = member.next_action()
        assert isinstance(form, Form)
        assert (form.announcement.members, form.announcement.breaks) == ((0, 1), False)
        member.formed(1, holdings)
        assert member.next_action() == Transfer(1, source=0)
    return one, two


def test_a_newcomer_joins_at_a_boundary_and_gets_the_state_of_who_has_it(host, dial):
    for member in grow(host, dial):
        member.settled(1, Holding(0, 7))
        assert member.next_action() == Train(1)

    until(lambda: host.orders().generation == 1)
    assert host.orders().members == ("one", "two")


def test_when_a_connection_ends_the_others_are_called_together_at_once(host, dial, changes):
    one, two = grow(host, dial)
    two.close()
    form = one.next_action()

    assert isinstance(form, Form)
    assert (form.announcement.members, form.announcement.breaks) == ((0,), True)
    assert one.is_broken(1)
    assert not one.is_broken(2)
    assert "two" in host.orders().end
    assert "two" not in host.orders(lost=["two"]).end


def test_a_worker_that_is_cut_off_may_apply_nothing_and_write_nothing(host, dial):
    one = dial("one")
    begin(one)
    one.wait_for_lease()
    one.ensure_current(0)
    host.close()

    with pytest.raises(ResizeError, match=r"coordinator .* is gone"):
        one.next_action()
    for call in (lambda: one.ensure_current(0), one.wait_for_lease):
        with pytest.raises(LostPeerError):
            call()
    assert one.is_broken(0)


def test_once_the_run_is_over_nobody_is_replaced_and_newcomers_are_ended(host, dial):
    one = dial("one")
    begin(one)
    until(lambda: host.orders().members == ("one",))
    host.wish(2)
    early = dial("early")
    one.farewell()
    until(lambda: host.is_over)
    dial("late")

    until(lambda: host.orders().end == {"early", "late"})
    assert host.orders().missing == 0
    assert early.worker == 1


def test_a_lost_process_that_never_hung_up_is_replaced(host, dial):
    one, two = grow(host, dial)
    for member in (one, two):
        member.settled(1, Holding(0, 7))
        member.next_action()
    orders = host.orders(lost=["two"])

    assert (orders.missing, set(orders.workers)) == (1, {"one"})


def test_a_stranger_is_not_let_in_and_one_that_says_nothing_holds_up_nobody(host, dial):
    at = host.invitation
    with socket.create_connection((at.ip, at.port)):
        begin(dial("one"))
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client((at.ip, at.port), authkey=b"wrong").recv()
    assert set(host.orders().workers) == {"one"}


def test_the_store_and_the_line_listen_on_the_given_address_alone(host):
    with Host(LIMITS, 1, "127.0.0.2", lambda change: None) as other:
        for port in (other.invitation.port, other.invitation.store_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((IP, port))
            socket.create_connection(("127.0.0.2", port)).close()


def test_the_key_is_not_shown():
    assert "secret" not in repr(Invitation(IP, 1, 2, b"secret"))


def test_a_wish_for_nobody_is_refused(host):
    with pytest.raises(ResizeError, match="at least 1"):
        host.wish(0)


def test_workers_that_do_not_come_in_time_are_given_up_with_a_note(changes):
    with Host(Limits(start_s=0.05, gather_s=0.0), 1, IP, changes.put) as host:
        member = Membership(host.invitation, "one", IP)
        begin(member)
        host.wish(2)
        found = []
        until(lambda: not changes.empty() and found.append(changes.get()) is None and notes(found))
        member.close()
    assert "1 of 2 wanted workers" in notes(found)[0]


def notes(found: list) -> list[str]:
    return [change.text for change in found if isinstance(change, Note)]
