"""``absa train --local``: the same loop in this process, without Ray."""

import os
import threading

import torch

from absa.boundary import Command
from absa.collective import ALONE
from absa.errors import ConfigError
from absa.events import Record
from absa.host_memory import keep_freed_memory
from absa.journal import Journal, open_journal
from absa.outside import Outside
from cluster.compose import compose
from cluster.exit_code import exit_code
from cluster.interrupt import interrupts
from cluster.job import Job
from cluster.run_files import run_files
from cluster.saver import FolderSaver
from cluster.session import begin, train
from cluster.task_error import task_errors
from cluster.views.view import View


class LocalBoundary:
    """A `Boundary` in the same process: records go to the journal and the view at once."""

    def __init__(self, journal: Journal, view: View, interrupted: threading.Event) -> None:
        self._journal, self._view, self._interrupted = journal, view, interrupted
        # The thread that writes checkpoints records too.
        self._turn = threading.Lock()

    def record(self, record: Record) -> None:
        """Write to the journal and show."""
        with self._turn:
            self._journal.append(record)
            self._view(record)

    def waiting(self) -> bool:
        """Whether the user asked to stop."""
        return self._interrupted.is_set()

    def take(self) -> Command:
        """Return the wish to stop."""
        return Command(reason="interrupted", stop="interrupted")


def train_local(job: Job, *, resume: str | None, view: View) -> int:
    """Train in this process and return the exit code.

    Args:
        job: The resolved job; its ``workers.min`` must be 1.
        resume: A run to go on with, or None for a new one.
        view: Shows what happens.

    Raises:
        AbsaError: Bad input, or training failed.
    """
    if job.workers.min > 1:
        raise ConfigError(
            f"workers.min is {job.workers.min}, but --local trains in one process; "
            "leave --local out, or set workers.min to 1"
        )
    torch.set_num_threads(job.workers.threads or os.cpu_count() or 1)
    keep_freed_memory()
    with interrupts() as interrupt, run_files(job, resume, view) as files, task_errors(job):
        composed = compose(job, _device(job))
        run = files.open()
        beginning = begin(job, composed, run.folder)
        with open_journal(run.folder.storage, run.lineage) as journal:
            interrupt.defer()
            boundary = LocalBoundary(journal, view, interrupt.asked)
            with FolderSaver(run.folder, job, boundary.record, rank=0) as saver:
                outside = Outside(ALONE, boundary, saver, lineage=run.lineage)
                outcome = train(job, composed, beginning, run.folder.name, outside)
    return exit_code(outcome.reason)


def _device(job: Job) -> torch.device:
    if job.workers.gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError(
            f"workers.gpus is {job.workers.gpus}, but PyTorch sees no GPU on this machine; "
            "set workers.gpus to 0 to train on the CPU"
        )
    return torch.device("cuda")
