"""Runs the coordinator: takes calls of workers, keeps time, and says what processes are wanted."""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener, answer_challenge, deliver_challenge
from types import TracebackType
from typing import Self

from torch._C._distributed_c10d import TCPStore

from cluster.elastic import coordinator as machine
from cluster.elastic.coordinator import Coordinator, Kill, Limits, Note, Publish, Step
from cluster.elastic.invitation import Farewell, Hello, Invitation, Welcome, hang_up, send_at_once
from cluster.elastic.messages import Announcement, Reply, Status, WorkerId
from cluster.elastic.orders import Orders
from cluster.elastic.questions import all_train

_STORE_TIMEOUT = timedelta(seconds=60)


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
        self._state = Coordinator(limits, 0, least)
        self._labels: dict[WorkerId, str] = {}
        self._lines: dict[WorkerId, Connection] = {}
        self._end: set[str] = set()
        self._members: tuple[str, ...] = ()
        self._generation = -1
        self._listener = Listener((ip, 0), backlog=128)
        self._store, store_port = _store(ip)
        port = self._listener.address[1]
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
            self._take(machine.wish(self._state, wanted, _now_s()))

    def orders(self, lost: Collection[str] = ()) -> Orders:
        """Return what is to be done with processes.

        Args:
            lost: Labels of processes that are known to have ended.
        """
        with self._changed:
            for worker in [id_ for id_, label in self._labels.items() if label in lost]:
                self._take(machine.died(self._state, worker, _now_s()))
            self._take(machine.advance(self._state, _now_s()))
            self._end -= set(lost)
            living = {self._labels[id_]: id_ for id_ in self._state.workers if id_ in self._labels}
            end, missing = frozenset(self._end), self._state.num_starting
            if self._over:  # nobody else is needed, nor whoever is still to come
                end, missing = frozenset(self._labels.values()) - set(self._members), 0
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
            lines, self._lines = list(self._lines.values()), {}
            self._changed.notify_all()
        self._listener.close()
        for line in lines:
            hang_up(line)

    def _accept(self) -> None:
        while not self._closed:
            try:
                line = self._listener.accept()
            except OSError:
                continue  # it is closed, or whoever called is gone already
            # Whoever calls and says nothing must not keep others waiting.
            talk = threading.Thread(target=self._talk, args=(line,), name="worker", daemon=True)
            talk.start()

    def _talk(self, line: Connection) -> None:
        worker = None
        try:
            deliver_challenge(line, self.invitation.key)
            answer_challenge(line, self.invitation.key)
            send_at_once(line)
            hello = line.recv()
            assert isinstance(hello, Hello)
            worker = self._welcome(hello, line)
            while True:
                self._hear(line, line.recv())
        except (OSError, EOFError, AuthenticationError):
            pass  # it is gone, or it was nobody of ours
        finally:
            line.close()
            if worker is not None:
                self._lose(worker)

    def _welcome(self, hello: Hello, line: Connection) -> WorkerId:
        with self._changed:
            worker = len(self._labels)
            self._labels[worker], self._lines[worker] = hello.label, line
            self._take(machine.started(self._state, worker, _now_s()))
            line.send(Welcome(worker, self._state.limits.lease_s, self._first_lineage))
        return worker

    def _hear(self, line: Connection, said: Status | Farewell) -> None:
        with self._changed:
            if isinstance(said, Farewell):
                self._over = True
            elif not self._over:
                step, reply = machine.reported(self._state, said, _now_s())
                self._take(step)
                line.send(reply)
            else:
                line.send(Reply(said.sent_s, self._state.announcement, dismissed=False))

    def _lose(self, worker: WorkerId) -> None:
        with self._changed:
            self._lines.pop(worker, None)
            if not self._over:
                self._take(machine.hung_up(self._state, worker, _now_s()))

    def _take(self, step: Step) -> None:
        """Keep the new state and do what it asks for."""
        self._state, actions = step
        if self._over:
            return
        for action in actions:
            if isinstance(action, Kill) and action.worker in self._labels:
                self._end.add(self._labels[action.worker])
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
            try:
                known = worker in self._state.workers
                line.send(Reply(float("-inf"), announcement, dismissed=not known))
            except OSError:
                pass  # the thread that listens to it will notice

    def _keep_time(self) -> None:
        with self._changed:
            while not self._closed:
                deadline_s = machine.next_deadline_s(self._state)
                wait_s = None if deadline_s is None else max(deadline_s - _now_s(), 0.01)
                self._changed.wait(wait_s)
                if not self._over:
                    self._take_if_due()

    def _take_if_due(self) -> None:
        deadline_s = machine.next_deadline_s(self._state)
        if deadline_s is not None and deadline_s <= _now_s():
            self._take(machine.advance(self._state, _now_s()))


def _now_s() -> float:
    return time.monotonic()


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
