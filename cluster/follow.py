"""Shows what a run on Ray does until it ends, and passes on what the user and the plan want."""

import time
from dataclasses import dataclass, field

from absa.boundary import Command
from absa.errors import AbsaError, CheckpointError, ClusterError, InputError
from absa.events import Record
from absa.run_folder import RunFolder
from cluster.controller import Controller, Failure, News
from cluster.elastic.wish import Wish
from cluster.exit_code import ExitCode, TrainingFailedError, exit_code
from cluster.interrupt import Interrupts
from cluster.job import Job
from cluster.own_ray import RayLostError
from cluster.preflight import described_resources
from cluster.ray_failure import why_lost
from cluster.training import Training
from cluster.views.view import View

END_S = 60.0
"""How long the workers of a run that is complete may take to end; they have nothing left to do."""

POLL_S = 0.2
"""How often the driver asks for news: as often as rank 0 sends them."""


@dataclass(frozen=True)
class Followed:
    """A run that is training.

    Args:
        job: The resolved job.
        folder: The run's.
        controller: The controller.
        training: Its workers.
        wish: How many there should be.
        remarks: Records that belong into the journal once training has begun.
    """

    job: Job
    folder: RunFolder
    controller: Controller
    training: Training
    wish: Wish
    remarks: list[Record] = field(default_factory=list)


class Follower:
    """Shows records until training has ended, and asks for workers as they are wanted.

    Args:
        run: What to follow.
        view: Shows the records.
        interrupt: Whether the user wants it to stop.
    """

    def __init__(self, run: Followed, view: View, interrupt: Interrupts) -> None:
        self._run, self._view, self._interrupt = run, view, interrupt
        self._training, self._controller = run.training, run.controller
        self._remarks = list(run.remarks)
        self._cursor, self._reason, self._stopping = 0, None, False
        self._deadline_s = time.monotonic() + run.job.workers.wait_s
        self._ended_s = float("inf")

    def follow(self) -> int:
        """Return the exit code.

        Raises:
            AbsaError: Training failed, or never began.
            KeyboardInterrupt: The user stopped it before it began.
        """
        while True:
            ended = self._training.has_ended(POLL_S)
            news = self._show()
            code = self._advance(ended=ended)
            if code is not None:
                return code
            if not news.has_workers and time.monotonic() > self._deadline_s:
                raise _no_workers(self._run.job)

    def _advance(self, *, ended: bool) -> int | None:
        """Do what is due; return the exit code if all is over."""
        if self._interrupt.asked.is_set() and not self._stopping and self._reason is None:
            self._stopping = True
            if not self._stop():
                return self._end_between_groups()
        if self._reason is not None and time.monotonic() > self._ended_s + END_S:
            return exit_code(self._reason)
        if not ended:
            if self._run.wish.begun and not self._stopping:
                self._training.steer(self._run.wish.now())
            return None
        error = self._training.error
        if self._reason is None and error is None and self._training.is_resizing:
            if self._stopping:
                return self._end_between_groups()
            num_workers = self._training.start_next(self._run.wish.now())
            self._view({"event": "phase", "text": f"starting again with {num_workers} worker(s)"})
            return None
        if self._reason is None:
            raise RayLostError(why_lost(error))
        if error is not None:  # the run is complete and saved all the same
            what = "Ray Train failed after the run had ended"
            self._view({"event": "fault", "what": what, "detail": why_lost(error)})
        return exit_code(self._reason)

    def _show(self) -> News:
        news = self._controller.since(self._cursor)
        self._cursor += len(news.records)
        for record in news.records:
            self._view(record)
            self._take(record)
        if news.failure is not None:
            raise as_error(news.failure)
        return news

    def _take(self, record: Record) -> None:
        self._run.wish.take(record)
        self._training.take(record)
        if record["event"] == "run_ended":
            self._reason, self._ended_s = record["reason"], time.monotonic()
        elif record["event"] == "run_started":
            for remark in self._remarks:
                self._controller.note(remark)
            self._remarks.clear()

    def _stop(self) -> bool:
        """Ask for a checkpoint at the next boundary; return False if no group is there to ask.

        Raises:
            KeyboardInterrupt: Training has not begun.
        """
        if self._controller.give_up():
            if self._run.wish.begun:
                return False
            raise KeyboardInterrupt
        self._view({"event": "phase", "text": "ending after a checkpoint; Ctrl-C ends at once"})
        self._controller.command(Command("interrupted", stop="interrupted"))
        return True

    def _end_between_groups(self) -> int:
        """End the run where the last group left it."""
        self._controller.note(interrupted_between_groups(self._run.folder))
        self._show()
        return ExitCode.INTERRUPTED


def interrupted_between_groups(folder: RunFolder) -> Record:
    """Return the end of a run that no group is there to record, from its newest checkpoint.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    from absa.checkpoint import load_checkpoint, newest

    name = newest(folder.checkpoints)
    if name is None:
        raise CheckpointError(f"{folder.location}: the worker group left no checkpoint")
    tree, _, about = load_checkpoint(folder.checkpoints, name)
    progress = tree.values["progress"]
    return {
        "event": "run_ended",
        "reason": "interrupted",
        "metrics": about["metrics"],
        "best_metrics": progress["best"],
        "seconds": progress["training_s"],
        "skipped": progress["skipped"],
        "checkpoint": name,
    }


def as_error(failure: Failure) -> AbsaError:
    """Return a failure as what the command ends with."""
    error = InputError if failure.exit_code == ExitCode.BAD_INPUT else TrainingFailedError
    return error(failure.message)


def _no_workers(job: Job) -> ClusterError:
    return ClusterError(
        f"{job.place('workers.wait_s')}: the cluster did not give {job.workers.min} worker(s) with "
        f"{job.workers.cpus:g} CPUs and {job.workers.gpus:g} GPUs each within workers.wait_s = "
        f"{job.workers.wait_s:g} s; it has {described_resources()}; lower workers.min, or wait "
        "longer"
    )
