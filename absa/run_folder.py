"""A run's folder ``<storage>/<name>-<id>/``: making a new one, finding an old one.

It holds ``job.yaml`` (resolved), ``events.jsonl`` (the journal), ``checkpoints/`` and, at the end,
``report.html``. A folder without ``job.yaml`` is no run.
"""

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from absa.errors import CheckpointError, ConfigError
from absa.storage import Storage, open_storage

JOB_FILE = "job.yaml"

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a job may be called: it begins the name of a folder on any storage."""

_ID = re.compile(r"-(\d{8}-\d{6}-\d{3}[0-9a-z]{3})$")
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_NUM_SHOWN = 10


@dataclass(frozen=True)
class RunFolder:
    """One run's folder.

    Args:
        name: ``<name>-<id>``.
        root: The folder that holds it.
        created: This process made it, so it may be discarded while nothing has happened in it.
    """

    name: str
    root: Storage
    created: bool = False

    @property
    def storage(self) -> Storage:
        """The folder itself."""
        return self.root.child(self.name)

    @property
    def checkpoints(self) -> Storage:
        """Where the checkpoints lie."""
        return self.storage.child("checkpoints")

    @property
    def location(self) -> str:
        """The path or URL, as `open_run` takes it."""
        return self.storage.location


def new_run(storage: str, name: str) -> RunFolder:
    """Create an empty run folder that nobody else has.

    The id is the time in UTC to the millisecond and three random letters: ids sort by time.

    Args:
        storage: A local path, ``s3://...`` or ``gs://...``.
        name: The job's name: letters, digits, ".", "_" and "-", at most 64.

    Raises:
        ConfigError: The name is not allowed, or the storage cannot be written.
    """
    if not RUN_NAME.fullmatch(name):
        raise ConfigError(
            f"name: {name!r} cannot name a run folder; use 1 to 64 letters, digits, '.', '_' and "
            "'-', the first a letter or digit"
        )
    root = open_storage(storage)
    while True:
        run = RunFolder(f"{name}-{_new_id(datetime.now(UTC))}", root, created=True)
        if run.storage.create():
            return run


def open_run(reference: str, storage: str) -> RunFolder:
    """Find an existing run.

    Args:
        reference: ``latest``; or a run's name in the storage, or the beginning of one that fits no
            other; or the path or URL of a run folder.
        storage: Where runs are looked for by name.

    Raises:
        CheckpointError: There is no such run, or there are several.
    """
    if "/" in reference or (reference and (Path(reference) / JOB_FILE).is_file()):
        return _run_at(reference)
    root = open_storage(storage)
    names = _run_names(root)
    if reference == "latest":
        candidates = names
    elif reference in names:
        candidates = [reference]
    else:
        candidates = [name for name in names if reference and name.startswith(reference)]
        if len(candidates) > 1:
            raise CheckpointError(
                f"{reference!r} fits {len(candidates)} runs in {root.location}: "
                f"{_shown(candidates)}; give one of them"
            )
    for name in candidates:
        if JOB_FILE in root.child(name).entries():
            return RunFolder(name, root)
    raise CheckpointError(
        f"no run {reference!r} in {root.location}; runs there: {_shown(names)}. Give a run's name, "
        "the beginning of it, its path, or 'latest'"
    )


def discard(run: RunFolder) -> bool:
    """Remove a folder that this process created, as long as nothing happened in it.

    Call it when start-up fails, after the journal is closed.

    Returns:
        Whether it was removed. It stays when it was there before, or holds an event, a checkpoint
        or anything else that start-up does not write.
    """
    if not run.created or run.checkpoints.entries():
        return False
    for name, size in run.storage.entries().items():
        if name not in (JOB_FILE, "lock", "checkpoints") and size != 0:
            return False
    run.root.remove(run.name)
    return True


def write_job(run: RunFolder, job: str) -> None:
    """Write the resolved job, as YAML; from then on the folder is a run."""
    run.storage.write(JOB_FILE, [job.encode()])


def _new_id(now: datetime) -> str:
    letters = "".join(secrets.choice(_LETTERS) for _ in range(3))
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}{letters}"


def _run_names(root: Storage) -> list[str]:
    """Return the folders named like runs, the newest first, whatever the job's name."""
    found = [(m[1], name) for name in root.entries() if (m := _ID.search(name))]
    return [name for _, name in sorted(found, reverse=True)]


def _run_at(reference: str) -> RunFolder:
    path, question, query = reference.partition("?") if "://" in reference else (reference, "", "")
    path = path.rstrip("/") if "://" in path else os.path.abspath(os.path.expanduser(path))
    parent, _, name = path.rpartition("/")
    root = open_storage(f"{parent or '/'}{question}{query}")
    if JOB_FILE not in root.child(name).entries():
        raise CheckpointError(f"{reference} is not a run folder: it has no {JOB_FILE}")
    return RunFolder(name, root)


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return ", ".join(names[:_NUM_SHOWN]) + more if names else "none"
