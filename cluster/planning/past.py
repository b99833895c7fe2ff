"""Runs that say how fast a job will train: those of the same model on the same kind of workers."""

import re
from collections.abc import Iterator
from itertools import islice

from absa.errors import InputError
from absa.run_folder import JOB_FILE, RunFolder
from absa.storage import open_storage
from cluster.job import Job
from cluster.job_rules import resolve
from cluster.load_job import parse_job

MOST_LOOKED_AT = 50
"""Newest runs of a storage whose jobs are read: on an object store each takes a request."""

MOST_USED = 8
"""Newest of those that fit: a journal may be long, and older ones say little more."""

_ID = re.compile(r"-(\d{8}-\d{6}-\d{3}[0-9a-z]{3})$")


def past_runs(job: Job, storage: str) -> list[tuple[RunFolder, Job]]:
    """Return the runs whose updates cost what those of a job would, with their jobs, newest first.

    Args:
        job: Resolved.
        storage: Where they are looked for.
    """
    fitting = ((run, then) for run, then in _runs(storage) if _speed(then) == _speed(job))
    return list(islice(fitting, MOST_USED))


def job_of(run: RunFolder, overrides: tuple[str, ...] = ()) -> Job:
    """Return the resolved job of a run.

    Args:
        run: The run.
        overrides: Each ``a.b=value``.

    Raises:
        ConfigError: It cannot be read, or an override is wrong.
    """
    content = run.storage.read(JOB_FILE)
    return resolve(parse_job(content, f"{run.location}/{JOB_FILE}", overrides))


def _runs(storage: str) -> Iterator[tuple[RunFolder, Job]]:
    root = open_storage(storage)
    found = sorted((m[1], name) for name in root.entries() if (m := _ID.search(name)))
    for _, name in reversed(found[-MOST_LOOKED_AT:]):
        run = RunFolder(name, root)
        try:
            yield run, job_of(run)
        except (InputError, OSError):  # no run, or one of another version
            continue


def _speed(job: Job) -> object:
    """Return what an update's time depends on, beside how it is cut."""
    return (
        job.task,
        None if job.task else (job.data, job.model),
        job.precision,
        job.optimizer.name,
        (job.workers.cpus, job.workers.gpus, job.workers.threads),
        job.cluster,
    )
