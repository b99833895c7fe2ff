"""Rank 0's side of the controller: records go out and commands come in without training waiting."""

import queue
import threading
from typing import Any

import ray

from absa.boundary import Command
from absa.events import Record

PERIOD_S = 0.2
"""How long a record waits for company: 5 calls a second cost the worker less than 0.1 %."""


class ControllerLink:
    """A `Boundary` whose other end is the controller actor.

    A thread sends what was recorded and brings back commands, so that a call costs the training
    loop no more than a queue. When the controller is gone, or refuses this worker group because it
    was replaced, the next call raises Ray's error: training must not go on unheard.
    """

    def __init__(self, controller: Any, lineage: int) -> None:
        self._controller, self._lineage = controller, lineage
        self._outbox: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._thread.start()

    def record(self, record: Record) -> None:
        """Send a record soon."""
        self._check()
        self._outbox.put(record)

    def waiting(self) -> bool:
        """Whether a command has come."""
        self._check()
        return not self._commands.empty()

    def take(self) -> Command:
        """Return the oldest command, once."""
        return self._commands.get_nowait()

    def close(self) -> None:
        """Return once the controller has every record."""
        self._closing.set()
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._exchange()
        except BaseException as error:
            self._error = error

    def _exchange(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(PERIOD_S)
            records = [self._outbox.get() for _ in range(self._outbox.qsize())]
            command = ray.get(self._controller.record.remote(records, self._lineage))
            if command is not None:
                self._commands.put(command)


class NoLink:
    """The boundary of ranks other than 0, which neither record nor ask."""

    def record(self, record: Record) -> None:
        """Drop it: rank 0 records the same."""

    def waiting(self) -> bool:
        """Nothing ever waits here."""
        return False

    def take(self) -> Command:
        """Fail: nothing waits here."""
        raise LookupError("a rank other than 0 has no commands of its own")

    def close(self) -> None:
        """Nothing is open."""
