"""Runs the coordinator: takes calls of workers, keeps time, and says what processes are wanted."""

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection
from datetime import timedelta
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from types import TracebackType
from typing import Self

from torch._C._distributed_c10d import TCPStore

from cluster.elastic.awake_clock import LONGEST_S, AwakeClock
from cluster.elastic.invitation import (
    Farewell,
    Hello,
    Invitation,
    Welcome,
    give_up_after,
    hang_up,
    send_at_once,
)
from cluster.elastic.orders import Orders
from cluster.elastic.protocol import coordinator as machine
from cluster.elastic.protocol.coordinator import Coordinator, Kill, Limits, Note, Publish, Step
from cluster.elastic.protocol.messages import Announcement, Reply, Status, WorkerId
from cluster.elastic.protocol.questions import all_train

_STORE_TIMEOUT = timedelta(seconds=60)

_LOOK_S = 0.1

_STRANGER_S = 10.0
"""How long a caller may take to prove that it was invited."""

_SEND_S = 0.5
"""How long a worker may leave unread what it is told, once the system holds no more of it."""


class Host:
    """The coordinator of a run, in a process that outlives its workers.

    A worker holds a connection for as long as it lives, so that the end of its process is known at
    once. All methods may be called from any thread.

    Args:
        limits: How long to wait for what.
        wanted: Workers that there should be.
        ip: The address to listen on.
        on_change: Called with each announcement and each note, in the order in which they were
            made; it must not block.
        first_lineage: The lineage of the run with which this host begins.
        least: See `Coordinator`.
    """

    def __init__(
        self,
        limits: Limits,
        wanted: int,
        ip: str,
        on_change: Callable[[Announcement | Note], None],
        first_lineage: int = 0,
        least: int = 1,
    ) -> None:
        self._on_change, self._first_lineage = on_change, first_lineage
        self._changed = threading.Condition()
        self._closed = self._over = False
        self._clock = AwakeClock()
        self._over_s = float("inf")
        self._state = Coordinator(limits, 0, least)
        self._labels: dict[WorkerId, str] = {}
        self._lines: dict[WorkerId, Connection] = {}
        self._end: set[str] = set()
        self._members: tuple[str, ...] = ()
        self._generation = -1
        self._listening = socket.create_server((ip, 0), backlog=128)
        self._store: TCPStore | None
        self._store, store_port = _store(ip)
        port = self._listening.getsockname()[1]
        self.invitation = Invitation(ip, port, store_port, secrets.token_bytes(32))
        for work in (self._accept, self._keep_time):
            threading.Thread(target=work, name="membership", daemon=True).start()
        self.wish(wanted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def wish(self, wanted: int) -> None:
        """Want another number of workers from now on.

        Raises:
            ResizeError: It is below 1.
        """
        with self._changed:
            self._take(machine.wish(self._state, wanted, self._clock.now_s()))

    def orders(self, lost: Collection[str] = ()) -> Orders:
        """Return what is to be done with processes.

        Args:
            lost: Labels of processes that are known to have ended.
        """
        with self._changed:
            for worker in [id_ for id_, label in self._labels.items() if label in lost]:
                self._take(machine.died(self._state, worker, self._clock.now_s()))
            self._take(machine.advance(self._state, self._clock.now_s()))
            self._end -= set(lost)
            living = {self._labels[id_]: id_ for id_ in self._state.workers if id_ in self._labels}
            end, missing = frozenset(self._end), self._state.num_starting
            if self._over:  # nobody else is needed, nor whoever is still to come
                end, missing = frozenset(self._labels.values()), 0
                if self._clock.now_s() < self._over_s + self._patience_s:
                    end -= set(self._members)  # they end by themselves, unless they hang
            return Orders(missing, living, end, self._members, self._generation)

    @property
    def was_called(self) -> bool:
        """Whether a worker has ever dialled in."""
        return bool(self._labels)

    @property
    def is_over(self) -> bool:
        """Whether a worker has said that the training is over."""
        return self._over

    def close(self) -> None:
        """Hang up and stop listening."""
        with self._changed:
            self._closed = self._over = True
            for line in self._lines.values():
                hang_up(line)
            self._store = None
            self._changed.notify_all()
        with contextlib.suppress(OSError):  # it was closed before
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes who waits for callers
        self._listening.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                self._pause()  # it is closed, whoever called is gone, or too many are there
                continue
            line = Connection(caller.detach())
            # Whoever calls and says nothing must not keep others waiting.
            talk = threading.Thread(target=self._talk, args=(line,), name="worker", daemon=True)
            talk.start()

    def _talk(self, line: Connection) -> None:
        worker = None
        try:
            give_up_after(line, receive_s=_STRANGER_S, send_s=_SEND_S)
            deliver_challenge(line, self.invitation.key)
            answer_challenge(line, self.invitation.key)
            send_at_once(line)
            hello = line.recv()
            assert isinstance(hello, Hello)
            give_up_after(line, receive_s=0.0, send_s=_SEND_S)  # from now on its lease counts
            worker = self._welcome(hello, line)
            while True:
                self._hear(line, line.recv())
        except (OSError, EOFError, AuthenticationError):
            pass  # it is gone, or it was nobody of ours
        finally:
            with self._changed:  # nobody may write to a line that is being closed
                if worker is not None:
                    self._lose(worker)
                line.close()

    def _welcome(self, hello: Hello, line: Connection) -> WorkerId:
        with self._changed:
            worker = len(self._labels)
            self._labels[worker], self._lines[worker] = hello.label, line
            line.send(Welcome(worker, self._state.limits.lease_s, self._first_lineage))
            self._take(machine.started(self._state, worker, self._clock.now_s()))
        return worker

    def _hear(self, line: Connection, said: Status | Farewell) -> None:
        with self._changed:
            if isinstance(said, Farewell):
                self._over_s = min(self._over_s, self._clock.now_s())
                self._over = True
            elif not self._over:
                step, reply = machine.reported(self._state, said, self._clock.now_s())
                self._take(step)
                _send(line, reply)
            else:  # there will be no other generation for whoever was caught in the last collective
                dismissed = said.phase != "training"
                _send(line, Reply(said.sent_s, self._state.announcement, dismissed))

    def _lose(self, worker: WorkerId) -> None:
        self._lines.pop(worker, None)
        if not self._over:
            self._take(machine.hung_up(self._state, worker, self._clock.now_s()))

    def _take(self, step: Step) -> None:
        """Keep the new state and do what it asks for."""
        self._state, actions = step
        if self._over:
            return
        for action in actions:
            if isinstance(action, Kill) and action.worker in self._labels:
                self._end.add(self._labels[action.worker])
                if action.worker in self._lines:  # it may be frozen, or its machine lost
                    hang_up(self._lines[action.worker])
            elif isinstance(action, Publish):
                self._on_change(action.announcement)
                self._push(action.announcement)
            elif isinstance(action, Note):
                self._on_change(action)
        newest = self._state.announcement
        if newest is not None and all_train(self._state):
            self._generation = newest.generation
            self._members = tuple(self._labels[id_] for id_ in newest.members)
        self._changed.notify_all()

    def _push(self, announcement: Announcement) -> None:
        """Tell everybody at once; whoever misses it hears of it with the next reply."""
        for worker, line in self._lines.items():
            known = worker in self._state.workers
            _send(line, Reply(float("-inf"), announcement, dismissed=not known))

    def _keep_time(self) -> None:
        with self._changed:
            while not self._closed:
                deadline_s = machine.next_deadline_s(self._state)
                wait_s = LONGEST_S / 2
                if deadline_s is not None:
                    wait_s = min(max(deadline_s - self._clock.now_s(), 0.01), wait_s)
                self._changed.wait(wait_s)
                if not self._over:
                    self._take_if_due()

    def _take_if_due(self) -> None:
        deadline_s = machine.next_deadline_s(self._state)
        now_s = self._clock.now_s()
        if deadline_s is not None and deadline_s <= now_s:
            self._take(machine.advance(self._state, now_s))

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, _LOOK_S)

    @property
    def _patience_s(self) -> float:
        return self._state.limits.lease_s + self._state.limits.margin_s


def _send(line: Connection, reply: Reply) -> None:
    """Tell a worker, unless it is gone or does not listen: then its line ends."""
    try:
        line.send(reply)
    except OSError:
        hang_up(line)  # half of it may be on its way; the thread that listens will notice


def _store(ip: str) -> tuple[TCPStore, int]:
    """Return a store that listens on this address alone: by itself it would listen on all."""
    with socket.create_server((ip, 0), backlog=1024) as listening:
        port = listening.getsockname()[1]
        store = TCPStore(
            ip,
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=_STORE_TIMEOUT,
            master_listen_fd=os.dup(listening.fileno()),
        )
    return store, port
