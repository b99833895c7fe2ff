"""The file of cells: one line for every run that is done, so that a table can be made in parts."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fewer_updates.arms import Key
from benchmarks.fewer_updates.outcome import Outcome, as_values, from_values
from benchmarks.fewer_updates.train import Work


@dataclass(frozen=True)
class Cell:
    """A run that is done.

    Args:
        work: What was trained.
        outcome: What came of it.
        commit: Of the code.
        machine: It ran on.
    """

    work: Work
    outcome: Outcome
    commit: str
    machine: str


class Cells:
    """What a file holds of one size, and what is added to it.

    Args:
        path: Of the file; made when the first cell is added.
        size: Name of the size; lines of others are left alone.
    """

    def __init__(self, path: Path, size: str) -> None:
        self._path, self._size = path, size
        self.known: dict[Key, Cell] = {}
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
        self._torn = lines[-1] != b""
        for number, line in enumerate(lines, start=1):
            if line.strip():
                self._take(number, line)

    def add(self, key: Key, cell: Cell) -> None:
        """Write a cell; it is in the file when this returns."""
        values = {
            "size": self._size,
            "arm": key.arm,
            "seed": key.seed,
            "commit": cell.commit,
            "machine": cell.machine,
            "job": cell.work.job,
            "course": cell.work.course,
            "outcome": as_values(cell.outcome),
        }
        # What a killed process left of a line must not swallow this one.
        line = "\n" * self._torn + json.dumps(values) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
        self._torn = False
        self.known[key] = cell

    def outcomes(self) -> dict[Key, Outcome]:
        """Return what came of each cell."""
        return {key: cell.outcome for key, cell in self.known.items()}

    def same(self, work: Work) -> Outcome | None:
        """Return what came of the same work, whatever cell it was; None if nobody has done it."""
        plain = _plain(work)
        found = (cell.outcome for cell in self.known.values() if _plain(cell.work) == plain)
        return next(found, None)

    def has(self, key: Key, work: Work) -> bool:
        """Return whether this cell is done, and was the same work."""
        return key in self.known and _plain(self.known[key].work) == _plain(work)

    def _take(self, number: int, line: bytes) -> None:
        try:
            values: Mapping[str, Any] = json.loads(line)
            if values["size"] != self._size:
                return
            course = values["course"]
            work = Work(values["job"], None if course is None else _course(course))
            cell = Cell(work, from_values(values["outcome"]), values["commit"], values["machine"])
            self.known[Key(values["arm"], values["seed"])] = cell
        except (ValueError, KeyError, TypeError) as error:
            print(f"{self._path}:{number} is no cell and is left out: {error!r}", file=sys.stderr)


def _course(values: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((samples, batch) for samples, batch in values)


def _plain(work: Work) -> Any:
    """Return what JSON makes of it: tuples are lists there."""
    return json.loads(json.dumps([work.job, work.course]))
