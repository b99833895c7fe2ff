"""Read what a report is made of from a run folder, and write the report into it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from absa.errors import InputError
from absa.events import Record

REPORT = "report.html"


@dataclass(frozen=True)
class RunFiles:
    """What a run has left so far."""

    location: str
    job: str
    """The resolved job as YAML; empty when there is none."""
    records: list[Record]


def read_run(run_folder: str | os.PathLike[str]) -> RunFiles:
    """Read the job and the journal; lines that are torn or no records are left out.

    Raises:
        InputError: There is no journal.
    """
    folder = Path(run_folder)
    try:
        lines = (folder / "events.jsonl").read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            f"{folder} is no run folder: its journal {folder / 'events.jsonl'} cannot be read"
            f" ({error.strerror}). Give the folder that `absa train` named."
        ) from error
    job = folder / "job.yaml"
    text = job.read_text("utf-8", "replace") if job.is_file() else ""
    return RunFiles(str(folder), text, [record for line in lines for record in _parse(line)])


def _parse(line: bytes) -> list[Record]:
    try:
        record = json.loads(line)
    except ValueError:
        return []
    return [record] if isinstance(record, dict) else []


def write_page(run_folder: str | os.PathLike[str], page: str) -> str:
    """Write the report whole or not at all, and return where it lies."""
    path = Path(run_folder) / REPORT
    unfinished = path.with_name(f".{REPORT}.{os.getpid()}")
    try:
        unfinished.write_text(page, "utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return str(path)
