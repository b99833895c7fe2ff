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

    def __init__(self, controller: Any, lineage: int, generation: int = 0) -> None:
        self._controller = controller
        self.lineage, self.generation = lineage, generation
        self._outbox: queue.SimpleQueue[Record] = queue.SimpleQueue()
        # The number and the command that waits; those of the last one taken and put in force.
        self._command: tuple[int, Command] | None = None
        self._taken = self._done = 0
        self._error: BaseException | None = None
        self._closing = False
        self._asked = self._sent = 0
        self._hurry, self._changed = threading.Event(), threading.Condition()
        self._thread = threading.Thread(target=self._run, name="controller", daemon=True)
        self._thread.start()

    def record(self, record: Record) -> None:
        """Send a record soon."""
        self._check()
        self._outbox.put(record)

    def waiting(self) -> bool:
        """Whether a command has come; one that was taken counts as put in force."""
        self._check()
        command = self._command
        if command is not None and self._taken == command[0]:
            self._done, self._command = self._taken, None
            return False
        return command is not None

    def take(self) -> Command:
        """Return the waiting command; the same one until `waiting` is asked again."""
        assert self._command is not None
        self._taken, command = self._command
        return command

    def flush(self) -> None:
        """Return once the controller has every record."""
        number = self._asked = self._asked + 1
        self._hurry.set()
        with self._changed:
            self._changed.wait_for(lambda: self._sent >= number or self._error is not None)
        self._check()

    def close(self) -> None:
        """Return once the controller has every record."""
        self._closing = True
        self._hurry.set()
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
        with self._changed:
            self._changed.notify_all()

    def _exchange(self) -> None:
        closing = False
        while not closing:
            self._hurry.wait(PERIOD_S)
            self._hurry.clear()
            closing, asked, done = self._closing, self._asked, self._done
            records = [self._outbox.get() for _ in range(self._outbox.qsize())]
            number = (self.lineage, self.generation)
            command = ray.get(self._controller.record.remote(records, *number, done))
            if command is not None and command[0] > self._done:
                self._command = command
            with self._changed:
                self._sent = asked
                self._changed.notify_all()
