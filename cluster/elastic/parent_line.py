"""The pipe between a worker process and its parent: records go up, commands come down."""

import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from absa.boundary import Command
from absa.events import Record


@dataclass(frozen=True)
class InForce:
    """What rank 0 says once it has carried a command out."""

    number: int


class Commands:
    """The parent's side: the newest command, until a rank 0 has carried it out."""

    def __init__(self) -> None:
        self._number = 0
        self._waiting: tuple[int, Command] | None = None

    def leave(self, command: Command, lines: Iterable[Connection]) -> None:
        """Tell all workers of a command; it takes the place of one that still waits."""
        self._number += 1
        self._waiting = (self._number, command)
        self._tell(lines)

    def greet(self, line: Connection) -> None:
        """Tell a new worker what waits: it may become rank 0 before that is done."""
        self._tell([line])

    def done(self, said: InForce, lines: Iterable[Connection]) -> None:
        """Tell all workers that a command is not to be carried out again."""
        if self._waiting is not None and self._waiting[0] == said.number:
            self._waiting = None
            self._tell(lines)

    def _tell(self, lines: Iterable[Connection]) -> None:
        for line in lines:
            with contextlib.suppress(OSError):  # its worker has just ended
                line.send(self._waiting)


class ParentLine:
    """A `Boundary` whose other end is the parent process."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        # The thread that writes checkpoints records too.
        self._turn = threading.Lock()
        self._waiting: tuple[int, Command] | None = None
        self._taken = 0
        self.number = (-1, -1)

    def record(self, record: Record) -> None:
        """Send it at once."""
        self._send((self.number, record))

    def waiting(self) -> bool:
        """Whether a command has come; one that was taken counts as put in force."""
        while self._line.poll():
            self._waiting = self._line.recv()
        if self._waiting is not None and self._waiting[0] == self._taken:
            self._waiting = None
            self._send(InForce(self._taken))
        return self._waiting is not None

    def take(self) -> Command:
        """Return the waiting command; the same one until `waiting` is asked again."""
        assert self._waiting is not None
        self._taken, command = self._waiting
        return command

    def _send(self, said: object) -> None:
        with self._turn:
            self._line.send(said)
