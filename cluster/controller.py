"""The controller: keeps the journal, hands out lineages and commands, and shows what happened.

A plain object, run as a Ray actor on the driver's machine: it outlives every worker group.
"""

import queue
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from absa.boundary import Command
from absa.errors import AbsaError
from absa.events import Record
from absa.journal import Journal, open_journal
from absa.run_folder import RunFolder
from cluster.elastic.fence import Fence
from cluster.elastic.host import Host
from cluster.elastic.invitation import Invitation
from cluster.elastic.orders import Orders
from cluster.elastic.protocol.coordinator import Limits, Note
from cluster.elastic.protocol.messages import Announcement

LOST_GROUP = "the worker group was lost"
"""What a fault says when a group replaces one that nobody had asked to end."""


@dataclass(frozen=True)
class Failure:
    """Why a run cannot go on, as text that a user can act on."""

    message: str
    exit_code: int


@dataclass(frozen=True)
class News:
    """What the driver has not seen yet.

    Args:
        records: New records.
        failure: Why the run cannot go on, if so.
        has_workers: A worker group has come up at least once.
    """

    records: list[Record]
    failure: Failure | None
    has_workers: bool


class ReplacedError(RuntimeError):
    """The worker group was replaced, or the run was given up: it must write nothing more."""


class Controller:
    """Takes records from rank 0 and gives it commands; the driver reads the records."""

    def __init__(self) -> None:
        self._journal: Journal | None = None
        self._folder: RunFolder | None = None
        self._first_lineage = self._next_lineage = 0
        self._records: list[Record] = []
        self._commands = 0
        self._command: Command | None = None
        self._fence = Fence()
        self._host: Host | None = None
        self._changes: queue.SimpleQueue[Announcement | Note] = queue.SimpleQueue()
        self._failure: Failure | None = None
        self._given_up = self._ended = False
        self._expects_group = False
        self._newcomer_failure: str | None = None
        self._wish_reason = ""

    def open(self, folder: RunFolder, lineage: int) -> Failure | None:
        """Open the journal, which the controller alone writes; return why it cannot be opened.

        Args:
            folder: The run's folder.
            lineage: The lineage of the first worker group.
        """
        self._first_lineage = self._next_lineage = lineage
        self._folder = folder
        try:
            self._journal = open_journal(folder.storage, lineage)
        except AbsaError as error:
            return Failure(str(error), error.exit_code)
        return None

    def begin(self) -> int:
        """Return the lineage of a new worker group; rank 0 asks once.

        Every group but the first goes on from a checkpoint; it replaces one that was lost, unless
        it was expected.

        Raises:
            ReplacedError: The run was given up.
        """
        if self._given_up:
            raise ReplacedError("the run was given up before this worker group came")
        lineage = self._next_lineage
        self._next_lineage += 1
        if lineage > self._first_lineage and not self._expects_group:
            self._note_restart(lineage)
        self._expects_group = False
        return lineage

    def expect_group(self) -> int:
        """Return the lineage of the next group, which replaces one that has ended as asked.

        Was it asked twice, the next group must not be.
        """
        self._expects_group = True
        if self._command is not None and self._command.stop == "resized":
            self._command = self._command.without_stop()
        return self._next_lineage

    def note(self, record: Record) -> None:
        """Journal a record of the driver's.

        Args:
            record: What its stamp lacks is filled in from the newest record; the lineage always
                is, for a newer one may have begun meanwhile.

        Raises:
            AbsaError: The journal cannot be written; the run ends.
        """
        last = self._newest()
        stamp = {key: last[key] for key in ("generation", "update", "samples")}
        self._append({"time": time.time(), **stamp, **record, "lineage": last["lineage"]})

    def invite(self, limits: Limits, wanted: int, ip: str) -> Invitation:
        """Begin to coordinate workers that join and leave in place.

        Args:
            limits: How long to wait for what.
            wanted: Workers at first; with so many, at least, a lineage begins.
            ip: The address to listen on.
        """
        first = self._first_lineage
        self._host = Host(limits, wanted, ip, self._changes.put, first, least=wanted)
        return self._host.invitation

    def wish(self, wanted: int, reason: str) -> None:
        """Want another number of workers from now on.

        Args:
            wanted: The number.
            reason: Why, for the journal.

        Raises:
            ResizeError: It is below 1.
        """
        assert self._host is not None, "invite comes first"
        self._wish_reason = reason
        self._newcomer_failure = None
        self._host.wish(wanted)

    def orders(self, lost: Collection[str] = ()) -> Orders:
        """Return what is to be done with worker processes.

        Args:
            lost: Labels of processes that are known to have ended.
        """
        assert self._host is not None, "invite comes first"
        return self._host.orders(lost)

    def checkpoints(self, cursor: int) -> list[Record]:
        """Return the checkpoints that were written after the first ``cursor`` ones."""
        assert self._folder is not None, "open comes first"
        written = [record for record in self._records if record["event"] == "checkpoint"]
        place = self._folder.checkpoints
        metrics = {r["samples"]: r["metrics"] for r in self._records if r["event"] == "evaluation"}
        return [
            {
                **record,
                "location": place.child(record["checkpoint"]).location,
                "metrics": metrics.get(record["samples"]),
            }
            for record in written[cursor:]
        ]

    def record(
        self, records: Sequence[Record], lineage: int, generation: int = 0, done: int = 0
    ) -> tuple[int, Command] | None:
        """Write records to the journal; return the waiting command and its number.

        Args:
            records: What rank 0 has recorded.
            lineage: Its lineage.
            generation: The generation that it is in now.
            done: The number of the last command that it has put in force: until then it is handed
                out again, to a new rank 0 as well.

        Raises:
            ReplacedError: The worker group was replaced; its records are dropped.
            AbsaError: The journal cannot be written; the run ends.
        """
        self._catch_up()
        self._refuse_replaced(lineage)
        if not self._fence.admits(lineage, generation):
            raise ReplacedError(f"rank 0 of generation {generation} was replaced")
        for record in records:
            self._append(self._explained(record))
        if self._command is None or done >= self._commands:
            self._command = None
            return None
        return self._commands, self._command

    def command(self, command: Command) -> None:
        """Leave a command for rank 0, with what was not taken yet of those before."""
        self._commands += 1
        self._command = command.after(self._command)

    def give_up(self) -> bool:
        """End a run that no group trains yet, or none for now; return False if one does."""
        if self._records and not self._expects_group:
            return False
        self._given_up = True
        return True

    def fail(self, failure: Failure, lineage: int | None, brief: str = "") -> None:
        """Say that the run cannot go on; the first reason counts.

        What fails before it has trained is no failure of a run that goes on without it.

        Args:
            failure: Why.
            lineage: Of the worker that failed; None if it has not trained yet.
            brief: Why, in a line for the journal.

        Raises:
            ReplacedError: The worker group was replaced, so its failure is not the run's.
        """
        self._catch_up()
        if lineage is None and self._records:
            if brief != self._newcomer_failure and not self._ended:  # others fail in the same way
                self._newcomer_failure = brief
                self.note({"event": "fault", "what": "a new worker failed", "detail": brief})
            return
        if lineage is not None:
            self._refuse_replaced(lineage)
        self._failure = self._failure or failure

    def since(self, cursor: int) -> News:
        """Return what happened after the first ``cursor`` records."""
        self._catch_up()
        has_workers = self._next_lineage > self._first_lineage or (
            self._host is not None and self._host.was_called
        )
        return News(self._records[cursor:], self._failure, has_workers)

    def close(self) -> None:
        """Close the journal, and hang up on the workers."""
        if self._host is not None:
            self._host.close()
        if self._journal is not None:
            self._journal.close()

    def _refuse_replaced(self, lineage: int) -> None:
        if self._given_up or lineage != self._next_lineage - 1:
            raise ReplacedError(f"the worker group of lineage {lineage} was replaced")

    def _catch_up(self) -> None:
        """Take in what the coordinator has decided since."""
        while not self._changes.empty():
            change = self._changes.get()
            if isinstance(change, Note):
                self.note({"event": "fault", **_parts(change.text)})
            elif change.restores and not self._given_up:
                self.begin()

    def _explained(self, record: Record) -> Record:
        """Add to a resize what only this side knows: why so many workers are wanted."""
        planned = record["event"] == "resize" and self._wish_reason and not record["lost"]
        return {**record, "reason": self._wish_reason} if planned else record

    def _append(self, record: Record) -> None:
        assert self._journal is not None, "open comes first"
        if record["event"] == "run_ended":
            if self._ended:
                return  # whoever takes the place of a rank 0 lost at the end says it again
            self._ended = True
        try:
            self._journal.append(record)
        except AbsaError as error:
            self._failure = self._failure or Failure(str(error), error.exit_code)
            raise
        self._records.append(record)

    def _note_restart(self, lineage: int) -> None:
        last = self._newest()
        self._append(
            {
                "event": "fault",
                "time": time.time(),
                "lineage": lineage,
                "generation": last["generation"],
                "update": last["update"],
                "samples": last["samples"],
                "what": LOST_GROUP,
                "detail": "Ray Train started it again; it goes on from the newest checkpoint",
            }
        )

    def _newest(self) -> Record:
        if self._records:
            return self._records[-1]
        return {"lineage": self._first_lineage, "update": 0, "samples": 0, "generation": 0}


def _parts(text: str) -> dict[str, str]:
    """Return what happened, and what follows from it."""
    what, _, detail = (re.sub("[:;] ", "\n", text, count=1)).partition("\n")
    return {"what": what, "detail": detail}
