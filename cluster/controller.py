"""The controller: keeps the journal, hands out lineages and commands, and shows what happened.

A plain object, run as a Ray actor on the driver's machine: it outlives every worker group.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from absa.boundary import Command
from absa.events import Record
from absa.journal import open_journal
from absa.run_folder import RunFolder


@dataclass(frozen=True)
class Failure:
    """Why a run cannot go on, as text that a user can act on."""

    message: str
    exit_code: int


class Controller:
    """Takes records from rank 0 and gives it commands; the driver reads the records.

    Args:
        folder: The run's folder; the controller alone writes its journal.
        lineage: The lineage of the first worker group.
    """

    def __init__(self, folder: RunFolder, lineage: int) -> None:
        self._journal = open_journal(folder.storage, lineage)
        self._first_lineage = self._next_lineage = lineage
        self._records: list[Record] = []
        self._command: Command | None = None
        self._failure: Failure | None = None

    def begin(self) -> int:
        """Return the lineage of a new worker group; rank 0 asks once.

        Every group but the first replaces one that was lost, and goes on from a checkpoint.
        """
        lineage = self._next_lineage
        self._next_lineage += 1
        if lineage > self._first_lineage:
            self._note_restart(lineage)
        return lineage

    def record(self, records: Sequence[Record], lineage: int) -> Command | None:
        """Write records to the journal; return the waiting command, once.

        A worker group that was replaced is refused: its records are dropped, it gets no command.
        """
        if lineage != self._next_lineage - 1:
            return None
        for record in records:
            self._append(record)
        command, self._command = self._command, None
        return command

    def command(self, command: Command) -> None:
        """Leave a command for rank 0; a newer one replaces one that was not taken yet."""
        self._command = command

    def fail(self, message: str, exit_code: int) -> None:
        """Say that the run cannot go on; the first reason counts."""
        if self._failure is None:
            self._failure = Failure(message, exit_code)

    def since(self, cursor: int) -> tuple[list[Record], Failure | None]:
        """Return the records after the first ``cursor`` ones, and why the run failed, if it did."""
        return self._records[cursor:], self._failure

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _append(self, record: Record) -> None:
        self._journal.append(record)
        self._records.append(record)
        if record["event"] in ("checkpoint", "run_ended"):
            self._journal.sync()

    def _note_restart(self, lineage: int) -> None:
        last = self._records[-1] if self._records else {"update": 0, "samples": 0, "generation": 0}
        self._append(
            {
                "event": "fault",
                "time": time.time(),
                "lineage": lineage,
                "generation": last["generation"],
                "update": last["update"],
                "samples": last["samples"],
                "what": "the worker group was lost",
                "detail": "Ray Train started it again; it goes on from the newest checkpoint",
            }
        )
