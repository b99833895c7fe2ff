"""The coordinator's host and its members, over real connections, in one process."""

import contextlib
import os
import queue
import socket
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

import pytest

from absa.errors import ResizeError
from cluster.elastic.host import Host
from cluster.elastic.invitation import Hello, Invitation, hang_up
from cluster.elastic.membership import CutOffError, Membership
from cluster.elastic.protocol.coordinator import Limits, Note
from cluster.elastic.protocol.member import Exit, Form, Holding, Restore, Train, Transfer
from cluster.elastic.protocol.messages import Announcement, Status
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


def test_a_worker_that_does_not_read_holds_up_nobody(host, dial):
    at = host.invitation
    deaf = Client((at.ip, at.port), authkey=at.key)
    deaf.send(Hello("deaf"))
    status = Status(deaf.recv().worker, 1, 0.0, "warming", -1, None, 0)
    for line, option in ((deaf, socket.SO_RCVBUF), (host._lines[0], socket.SO_SNDBUF)):
        with socket.socket(fileno=os.dup(line.fileno())) as view:
            view.setsockopt(socket.SOL_SOCKET, option, 1)

    def talk():
        with contextlib.suppress(OSError):
            while True:
                deaf.send(status)

    talking = threading.Thread(target=talk, daemon=True)
    talking.start()
    until(lambda: "deaf" in host.orders().end)
    hang_up(deaf)
    talking.join()
    deaf.close()


def test_a_worker_that_is_given_up_is_hung_up_on(host, dial):
    begin(dial("one"))
    host.wish(2)
    two = dial("two")
    host.wish(1)

    with pytest.raises(CutOffError):
        two.next_action()
    assert "two" in host.orders().end


def test_who_is_caught_in_the_last_collective_is_dismissed_once_the_run_is_over(host, dial):
    one, two = grow(host, dial)
    for member in (one, two):
        member.settled(1, Holding(0, 7))
        assert member.next_action() == Train(1)
    until(lambda: host.orders().generation == 1)
    one.farewell()
    until(lambda: host.is_over)
    two.failed(1)

    assert two.next_action() == Exit("dismissed")
    assert two.is_broken(1)


def test_who_does_not_end_after_the_run_is_ended(changes):
    with Host(Limits(lease_s=0.1, margin_s=0.1), 1, IP, changes.put) as host:
        one = Membership(host.invitation, "one", IP)
        begin(one)
        until(lambda: host.orders().members == ("one",))
        one.farewell()
        until(lambda: "one" in host.orders().end)


def test_a_host_that_is_closed_leaves_nothing_behind():
    before = set(threading.enumerate())
    with Host(LIMITS, 1, IP, lambda change: None) as host:
        at = host.invitation

    for port in (at.port, at.store_port):
        until(lambda port=port: refuses(port))
    until(lambda: set(threading.enumerate()) <= before)


def refuses(port: int) -> bool:
    try:
        socket.create_connection((IP, port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_caller_that_does_not_say_who_it_is_is_hung_up_on(host, monkeypatch):
    monkeypatch.setattr("cluster.elastic.host._STRANGER_S", 0.05)
    at = host.invitation
    with socket.create_connection((at.ip, at.port)) as silent:
        silent.settimeout(30)
        while silent.recv(1000):
            pass


def test_after_a_pause_of_its_own_it_believes_nobody_silent(changes, monkeypatch):
    asleep_s = [0.0]
    read = time.monotonic
    monkeypatch.setattr("time.monotonic", lambda: read() + asleep_s[0])
    with Host(Limits(lease_s=5.0, margin_s=1.0), 1, IP, changes.put) as host:
        member = Membership(host.invitation, "one", IP)
        begin(member)
        asleep_s[0] = 1000.0  # both were stopped: one process holds both
        member.wait_for_lease()
        assert host.orders().workers == {"one": 0}
        member.ensure_current(0)
        member.close()
