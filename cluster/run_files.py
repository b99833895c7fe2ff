"""The run folder from a run's point of view: opened at the start, completed at the end."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from absa.errors import AbsaError, InputError
from absa.journal import newest_lineage, read_journal
from absa.run_folder import RunFolder, discard, new_run, open_run, write_job
from cluster.job import Job
from cluster.load_job import dump_job
from cluster.report.write import write_report
from cluster.views.view import View


@dataclass(frozen=True)
class OpenRun:
    """A run that is about to train.

    Args:
        folder: Its folder.
        lineage: The number of the history of weights that begins now.
    """

    folder: RunFolder
    lineage: int


@contextlib.contextmanager
def run_files(job: Job, resume: str | None, view: View) -> Iterator[OpenRun]:
    """Open a new run's folder, or an old one's to go on with; complete it when training has ended.

    A new folder in which nothing happened is removed again. In any other the report is written,
    however training ended, unless the input was bad.

    Args:
        job: The resolved job.
        resume: An existing run, as `open_run` takes it, or None.
        view: Is told where the run lies.
    """
    if resume is None:
        folder, lineage = new_run(job.storage, job.name), 0
        write_job(folder, dump_job(job))
    else:
        folder = open_run(resume, job.storage)
        newest = newest_lineage(read_journal(folder.storage))
        lineage = 0 if newest is None else newest + 1
    try:
        yield OpenRun(folder, lineage)
    except InputError:
        # Nothing was trained: what was there before stays as it was.
        discard(folder)
        raise
    except BaseException:
        _complete(folder, view)
        raise
    else:
        _complete(folder, view)


def _complete(folder: RunFolder, view: View) -> None:
    if discard(folder):
        return
    try:
        report = write_report(folder.location)
    except (AbsaError, OSError) as error:
        view({"event": "fault", "what": "the report was not written", "detail": str(error)})
        report = None
    view({"event": "run_folder", "path": folder.location, "report": report})
