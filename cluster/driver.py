"""``absa train``: starts a Ray Train run, shows it while it happens, and waits for its end."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from absa.boundary import Command
from absa.errors import AbsaError, InputError
from cluster.controller import Controller, Failure
from cluster.exit_code import ExitCode, exit_code
from cluster.interrupt import interrupts
from cluster.job import Job
from cluster.preflight import check_cluster, check_here
from cluster.ray_session import ray_session
from cluster.ray_trainer import trainer
from cluster.run_files import OpenRun, run_files
from cluster.views.view import View

POLL_S = 0.2
"""How often the driver asks for news: as often as rank 0 sends them."""


class TrainingFailedError(AbsaError):
    """The worker group failed for good."""

    exit_code = int(ExitCode.TRAINING_FAILED)


def train_on_ray(job: Job, *, resume: str | None, view: View) -> int:
    """Train on a Ray cluster and return the exit code.

    Args:
        job: The resolved job.
        resume: A run to go on with, or None for a new one.
        view: Shows what happens.

    Raises:
        AbsaError: Bad input, or training failed.
    """
    with interrupts() as interrupted:
        if job.cluster.address is None:
            view({"event": "phase", "text": "checking the job"})
            check_here(job, resume)
        view({"event": "phase", "text": "starting Ray"})
        with ray_session(job.cluster.address):
            check_cluster(job)
            with run_files(job, resume, view) as run, _controller(run) as controller:
                view({"event": "phase", "text": f"starting {job.workers.min} worker(s)"})
                fit = _Fit(trainer(job, run, controller))
                return _follow(fit, controller, view, interrupted)


class _Fit(threading.Thread):
    """Ray Train's ``fit``, in a thread: only so can the driver show what happens meanwhile."""

    def __init__(self, ray_trainer: Any) -> None:
        super().__init__(name="ray-train", daemon=True)
        self._trainer = ray_trainer
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Train; keep the error for the main thread."""
        try:
            self._trainer.fit()
        except BaseException as error:
            self.error = error


def _follow(fit: _Fit, controller: Any, view: View, interrupted: threading.Event) -> int:
    """Show records until training has ended; return the exit code."""
    import ray

    cursor, reason, asked = 0, None, False
    while True:
        fit.join(POLL_S)
        over = not fit.is_alive()
        records, failure = ray.get(controller.since.remote(cursor))
        cursor += len(records)
        for record in records:
            view(record)
            reason = record["reason"] if record["event"] == "run_ended" else reason
        if failure is not None:
            raise _as_error(failure)
        if over:
            break
        if interrupted.is_set() and not asked:
            asked = True
            ray.get(controller.command.remote(Command("interrupted", stop="interrupted")))
    if fit.error is not None or reason is None:
        raise TrainingFailedError(_why(fit.error))
    return exit_code(reason)


def _as_error(failure: Failure) -> AbsaError:
    error = InputError if failure.exit_code == ExitCode.BAD_INPUT else TrainingFailedError
    return error(failure.message)


def _why(error: BaseException | None) -> str:
    if error is None:
        return "the workers ended without finishing the run; go on with --resume"
    return (
        f"the workers failed more often than workers.max_restarts allows; the last time:\n{error}"
    )


@contextlib.contextmanager
def _controller(run: OpenRun) -> Iterator[Any]:
    """Start the controller on this machine, where the run folder of a local path lies."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "scheduling_strategy": here}
    controller = ray.remote(Controller).options(**options).remote(run.folder, run.lineage)
    try:
        yield controller
    finally:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(controller.close.remote(), timeout=10)
