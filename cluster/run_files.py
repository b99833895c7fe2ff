"""The run folder from a run's point of view: opened at the start, completed at the end."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from absa.errors import AbsaError, InputError
from absa.journal import newest_lineage, read_journal
from absa.run_folder import RunFolder, discard, new_run, open_run, write_job
from cluster.exit_code import TrainingFailedError
from cluster.job import Job
from cluster.load_job import dump_job
from cluster.report.write import write_report
from cluster.views.view import View

RAY_TRAIN_FOLDER = "ray_train"
"""What Ray Train itself writes lies there, in a folder for each lineage."""


@dataclass(frozen=True)
class OpenRun:
    """A run that is about to train.

    Args:
        folder: Its folder.
        lineage: The number of the history of weights that begins now.
    """

    folder: RunFolder
    lineage: int

    @property
    def ray_train_name(self) -> str:
        """Ray Train's name of this history: under an old name it would restore an old state."""
        return f"lineage-{self.lineage}"


class RunFiles:
    """A run's folder, which is made or found when training is about to begin.

    Args:
        job: The resolved job.
        resume: An existing run, as `open_run` takes it, or None.
        view: Is told where the run lies.
    """

    def __init__(self, job: Job, resume: str | None, view: View) -> None:
        self._job, self._resume, self._view = job, resume, view
        self._run: OpenRun | None = None

    def open(self) -> OpenRun:
        """Make a new run's folder, or find an old one's to go on with."""
        if self._resume is None:
            self._run = OpenRun(new_run(self._job.storage, self._job.name), lineage=0)
            write_job(self._run.folder, dump_job(self._job))
        else:
            folder = open_run(self._resume, self._job.storage)
            newest = newest_lineage(read_journal(folder.storage))
            self._run = OpenRun(folder, lineage=0 if newest is None else newest + 1)
        return self._run

    def close(self) -> bool:
        """Complete the folder, or undo everything if nothing happened; return whether that is so.

        A resumed run keeps the values that it was resumed with, and the report shows them.

        Whoever trains must have ended: they would write on.
        """
        if self._run is None:
            return True
        if self._began(self._run):
            self._complete(self._run.folder)
            return False
        self._undo(self._run)
        return True

    def _began(self, run: OpenRun) -> bool:
        newest = newest_lineage(read_journal(run.folder.storage))
        return newest is not None and newest >= run.lineage

    def _undo(self, run: OpenRun) -> None:
        storage = run.folder.storage
        others = set(storage.child(RAY_TRAIN_FOLDER).entries()) - {run.ray_train_name}
        if others:
            storage.child(RAY_TRAIN_FOLDER).remove(run.ray_train_name)
        else:
            storage.remove(RAY_TRAIN_FOLDER)
        discard(run.folder)

    def _complete(self, folder: RunFolder) -> None:
        try:
            if self._resume is not None:
                write_job(folder, dump_job(self._job))
            report = write_report(folder.location)
        except (AbsaError, OSError) as error:
            self._view(
                {"event": "fault", "what": "the report was not written", "detail": str(error)}
            )
            report = None
        self._view({"event": "run_folder", "path": folder.location, "report": report})


@contextlib.contextmanager
def run_files(job: Job, resume: str | None, view: View) -> Iterator[RunFiles]:
    """Complete the run folder that is opened inside the ``with`` block, however that ends.

    A new folder in which nothing happened is removed again, an old one stays as it was. In any
    other the report is written.

    Raises:
        TrainingFailedError: Instead of an `InputError` that came after training had begun.
    """
    files = RunFiles(job, resume, view)
    try:
        yield files
    except InputError as error:
        if files.close():
            raise
        raise TrainingFailedError(str(error)) from error
    except BaseException:
        files.close()
        raise
    else:
        files.close()
