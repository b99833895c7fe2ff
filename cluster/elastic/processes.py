"""A run on plain processes of this machine, without Ray: the same membership, loop and state."""

import contextlib
import multiprocessing
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

import torch

from absa.boundary import Boundary, Command
from absa.errors import AbsaError
from absa.events import Record
from absa.outside import Saver
from absa.run_folder import RunFolder
from cluster.elastic.fence import Fence
from cluster.elastic.host import Host
from cluster.elastic.invitation import Invitation
from cluster.elastic.membership import CutOffError, Membership
from cluster.elastic.nobody import NoBoundary, NoSaver
from cluster.elastic.parent_line import Commands, InForce, ParentLine
from cluster.elastic.protocol.coordinator import Limits, Note
from cluster.elastic.protocol.messages import Announcement
from cluster.elastic.surroundings import Place
from cluster.elastic.worker import Worker
from cluster.job import Job
from cluster.saver import FolderSaver

LOOPBACK = "127.0.0.1"
_POLL_S = 0.05


@dataclass
class Child:
    """A worker process and the parent's end of the pipe to it."""

    process: BaseProcess
    line: Connection


class WorkerFailedError(AbsaError):
    """A worker process ended with an error of its own."""


@dataclass
class Processes:
    """Starts and ends worker processes as the coordinator wants, and keeps the records of rank 0.

    Args:
        job: The resolved job.
        folder: The run's.
        wanted: Workers at first.
        on_record: Called in this thread with each record of the run.
        limits: Of the coordinator.
        lineage: Of the run, at first.
    """

    job: Job
    folder: RunFolder
    wanted: int
    on_record: Callable[[Record], None]
    limits: Limits = field(default_factory=Limits)
    lineage: int = 0

    def __post_init__(self) -> None:
        self.changes: list[Announcement | Note] = []
        self.children: dict[str, Child] = {}
        self.ended: dict[str, Child] = {}
        self._fence = Fence()
        self._started = 0
        self._commands = Commands()
        self.host = Host(self.limits, self.wanted, LOOPBACK, self._changed, self.lineage)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self.children.values():
            child.process.kill()
        for child in self.children.values():
            child.process.join()
            child.line.close()
        self.host.close()

    def run(self) -> None:
        """Return when the run has ended.

        Raises:
            WorkerFailedError: A worker failed for a reason that would come again.
        """
        while not self.step():
            pass

    def step(self) -> bool:
        """Do what is due and wait a moment; return whether the run has ended.

        Raises:
            WorkerFailedError: A worker failed for a reason that would come again.
        """
        lost = [label for label, child in self.children.items() if not child.process.is_alive()]
        for label in lost:
            self._bury(label)
        orders = self.host.orders([*lost, *self.ended])
        unwanted = self.children.keys() & orders.end
        if self.host.is_over:
            unwanted = self.children.keys() - set(orders.members)
        for label in unwanted:
            self.children[label].process.kill()
        starting = self.children.keys() - orders.workers.keys() - orders.end
        for _ in range(orders.missing - len(starting)):
            self._start()
        self._listen()
        return self.host.is_over and not self.children

    def command(self, command: Command) -> None:
        """Leave a command for rank 0; one that no rank 0 has carried out goes to the next."""
        self._commands.leave(command, [child.line for child in self.children.values()])

    def _start(self) -> None:
        label = f"process-{self._started}"
        self._started += 1
        mine, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        arguments = (self.job, self.folder, self.host.invitation, label, theirs)
        process = context.Process(target=_work, args=arguments, name=label, daemon=True)
        process.start()
        theirs.close()
        self.children[label] = Child(process, mine)
        self._commands.greet(mine)

    def _bury(self, label: str) -> None:
        child = self.children.pop(label)
        self._drain(child)
        child.line.close()
        self.ended[label] = child

    def _listen(self) -> None:
        lines = {child.line: child for child in self.children.values()}
        for line in wait(list(lines), _POLL_S):
            self._drain(lines[line])  # type: ignore[index]

    def _drain(self, child: Child) -> None:
        try:
            while child.line.poll():
                self._hear(child.line.recv())
        except (EOFError, OSError):
            child.process.join(_POLL_S)

    def _hear(self, said: tuple[tuple[int, int], Record] | InForce | WorkerFailedError) -> None:
        if isinstance(said, WorkerFailedError):
            raise said
        if isinstance(said, InForce):
            self._commands.done(said, [child.line for child in self.children.values()])
            return
        (lineage, generation), record = said
        if self._fence.admits(lineage, generation):
            self.on_record(record)

    def _changed(self, change: Announcement | Note) -> None:
        self.changes.append(change)


class _Around:
    """What a worker finds around itself: a pipe to its parent."""

    node = socket.gethostname()

    def __init__(
        self, job: Job, folder: RunFolder, line: Connection, permit: Callable[[], None]
    ) -> None:
        self._job, self._folder, self._line, self._permit = job, folder, line, permit
        self._boundary: ParentLine | None = None
        self._saver: FolderSaver | None = None

    def enter(self, place: Place) -> tuple[Boundary, Saver]:
        """Take a place; rank 0 talks to the parent and saves."""
        os.environ |= {"RANK": str(place.rank), "WORLD_SIZE": str(len(place.nodes))}
        if place.rank != 0:
            return NoBoundary(), NoSaver()
        if self._boundary is None or self._saver is None:
            self._boundary = ParentLine(self._line)
            self._saver = FolderSaver(
                self._folder, self._job, self._boundary.record, rank=0, permit=self._permit
            )
        self._boundary.number = (place.lineage, place.generation)
        return self._boundary, self._saver

    def flush(self) -> None:
        """Return at once: nothing is held back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Return once everything is written."""
        if self._saver is not None:
            self._saver.__exit__(kind, error, traceback)


def _work(
    job: Job, folder: RunFolder, invitation: Invitation, label: str, line: Connection
) -> None:
    """Be a worker process."""
    torch.set_num_threads(job.workers.threads or 1)
    membership = Membership(invitation, label, LOOPBACK)
    around = _Around(job, folder, line, membership.wait_for_lease)
    try:
        # Whoever has hung up may write nothing, so it comes last.
        with contextlib.closing(membership), around:
            Worker(job, folder, membership, torch.device("cpu"), around).run()
    except CutOffError:
        return  # the group goes on without it
    except Exception as error:
        line.send(WorkerFailedError(f"{label} (process {os.getpid()}): {error}"))
        raise
