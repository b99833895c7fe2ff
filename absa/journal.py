"""The journal of a run: one record per line of strict JSON, only ever appended.

A record exists once its newline is written: what follows the last newline is the torn end of a
write that was cut off, and is dropped. A number that is not finite is written as null.

Locally it is the file ``events.jsonl``. A line goes to the operating system as it is appended, so
``tail -f`` shows it and a killed process loses nothing; it is forced to the disk with
each checkpoint, at the end of the run and by `Journal.close`, so a power cut may lose what came
after the last of these.
An object store cannot append: there it is the objects ``events-000001-....jsonl``, and a killed
process loses the last seconds.
"""

import json
import math
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from absa.errors import CheckpointError
from absa.events import Record
from absa.journal_logs import LocalLog, SegmentLog
from absa.run_lock import RunLock
from absa.storage import LocalStorage, Storage, explained

_FORCED = ("checkpoint", "run_ended")
"""Events that, with all before them, are to survive a power cut."""

_FILE = re.compile(r"events(-\d{6}-[0-9a-f]{8})?\.jsonl")


class Log(Protocol):
    """Where the lines go."""

    def write(self, line: bytes) -> None:
        """Append one line, whole or not at all."""
        ...

    def sync(self) -> None:
        """Return once everything appended so far survives a power cut."""
        ...

    def close(self) -> None:
        """Sync and let go."""
        ...


class Journal:
    """Appends records to a run's journal; made by `open_journal`. Any thread may append."""

    def __init__(self, log: Log, lineage: int, lock: RunLock | None = None) -> None:
        self._log = log
        self._lineage = lineage
        self._lock = lock
        self._turn = threading.Lock()

    def append(self, record: Record) -> None:
        """Append one record; it is a `Recorder`.

        Raises:
            CheckpointError: The record is of an older lineage than the journal's, so its writer has
                been replaced; or the line cannot be written.
        """
        lineage = record.get("lineage")
        if type(lineage) is not int:
            raise TypeError(f"a record needs an integer lineage, got {lineage!r}")
        line = json.dumps(_finite(record), allow_nan=False).encode() + b"\n"
        with self._turn:
            if lineage < self._lineage:
                raise CheckpointError(
                    f"a record of lineage {lineage} came after lineage {self._lineage} had begun: "
                    "this process was replaced and must not write"
                )
            self._lineage = lineage
            self._log.write(line)
        if record.get("event") in _FORCED:
            self.sync()

    def sync(self) -> None:
        """Return once every record so far survives a power cut; others may append meanwhile."""
        self._log.sync()

    def close(self) -> None:
        """Sync and let others write; a second call does nothing."""
        with self._turn:
            try:
                self._log.close()
            finally:
                if self._lock is not None:
                    self._lock.release()
                    self._lock = None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_journal(folder: Storage, lineage: int) -> Journal:
    """Open a run's journal to append; a torn end is cut off.

    On a local path a second writer is refused. An object store has no locks: there two writers
    cannot overwrite each other's records, and the older lineage's are ignored on reading.

    Args:
        folder: The run folder, which exists.
        lineage: The history of weights whose records will be appended; at least the newest there.

    Raises:
        CheckpointError: Somebody else writes this run, a newer lineage has begun in it, or the
            folder cannot be written.
    """
    if not isinstance(folder, LocalStorage):
        _check_lineage(folder, lineage)
        return Journal(SegmentLog(folder, _next_segment(folder)), lineage)
    with explained("write in", folder.location):
        lock = RunLock(folder.path)
        try:
            _check_lineage(folder, lineage)
            return Journal(LocalLog(folder.path / "events.jsonl"), lineage, lock)
        except BaseException:
            lock.release()
            raise


def read_journal(folder: Storage) -> list[Record]:
    """Return the records of a run in order, also while it is being written.

    A line that is no record is skipped with a warning that names it, and so is a record of an older
    lineage than one before it: its writer had been replaced.

    Args:
        folder: The run folder; without a journal there are no records.
    """
    files = [_records(folder, name) for name in folder.entries() if _FILE.fullmatch(name)]
    # By lineage first: a run that moved between a local path and an object store has both forms.
    files = sorted((f for f in files if f), key=lambda records: int(records[0][1]["lineage"]))
    kept: list[Record] = []
    newest = None
    for where, record in (pair for records in files for pair in records):
        if newest is not None and record["lineage"] < newest:
            _warn(f"{where}: a record of lineage {record['lineage']} after {newest}, skipped")
            continue
        newest = record["lineage"]
        kept.append(record)
    return kept


def newest_lineage(records: Sequence[Record]) -> int | None:
    """Return the lineage that was begun last, or None without records."""
    return max((int(record["lineage"]) for record in records), default=None)


def _records(folder: Storage, name: str) -> list[tuple[str, Record]]:
    *lines, _torn = folder.read(name).split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        where = f"{folder.location}: {name} line {number}"
        try:
            record = json.loads(line, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict) and type(record.get("lineage")) is int:
            found.append((where, record))
        else:
            _warn(f"{where} is not a record, skipped: {line[:80]!r}")
    return found


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)


def _check_lineage(folder: Storage, lineage: int) -> None:
    newest = newest_lineage(read_journal(folder))
    if newest is not None and newest > lineage:
        raise CheckpointError(
            f"{folder.location}: lineage {newest} has begun there, lineage {lineage} must not write"
        )


def _next_segment(folder: Storage) -> int:
    names = [name for name in folder.entries() if _FILE.fullmatch(name) and "-" in name]
    return 1 + max((int(name.split("-")[1]) for name in names), default=0)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
