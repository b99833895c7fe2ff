"""Read what a report is made of from a run folder, and write the report into it."""

import os
from dataclasses import dataclass

from absa.errors import InputError
from absa.events import Record
from absa.journal import read_journal
from absa.run_folder import JOB_FILE
from absa.storage import open_storage

REPORT = "report.html"


@dataclass(frozen=True)
class RunFiles:
    """What a run has left so far."""

    location: str
    job: str
    """The resolved job as YAML; empty when there is none."""
    records: list[Record]


def read_run(run_folder: str | os.PathLike[str]) -> RunFiles:
    """Read the job and the journal.

    Args:
        run_folder: A path or URL.

    Raises:
        InputError: There is no journal.
    """
    folder = open_storage(os.fspath(run_folder))
    records = read_journal(folder)
    files = folder.entries()
    if not records and not any(name.startswith("events") for name in files):
        raise InputError(
            f"{folder.location} is no run folder: it holds no journal (events.jsonl). "
            "Give the folder that `absa train` named."
        )
    job = folder.read(JOB_FILE).decode("utf-8", "replace") if JOB_FILE in files else ""
    return RunFiles(folder.location, job, records)


def write_page(run_folder: str | os.PathLike[str], page: str, name: str = REPORT) -> str:
    """Write a page into a run folder, whole or not at all, and return where it lies."""
    folder = open_storage(os.fspath(run_folder))
    folder.write(name, [page.encode()])
    return f"{folder.location.rstrip('/')}/{name}"
