"""``absa train``: starts a Ray Train run, shows it while it happens, and waits for its end."""

import contextlib
import time
from typing import Any

from absa.boundary import Command
from absa.errors import AbsaError, ClusterError, InputError
from cluster.controller import Controller, Failure, News
from cluster.exit_code import ExitCode, TrainingFailedError, exit_code
from cluster.interrupt import Interrupts, interrupts
from cluster.job import Job
from cluster.own_ray import RayLostError
from cluster.preflight import check_here, check_machine, described_resources
from cluster.ray_failure import why_lost
from cluster.ray_session import ray_environment, ray_session
from cluster.ray_trainer import trainer
from cluster.run_files import OpenRun, RunFiles, run_files
from cluster.side_thread import SideThread
from cluster.views.view import View

POLL_S = 0.2
"""How often the driver asks for news: as often as rank 0 sends them."""


def train_on_ray(job: Job, *, resume: str | None, view: View) -> int:
    """Train on a Ray cluster and return the exit code.

    Args:
        job: The resolved job.
        resume: A run to go on with, or None for a new one.
        view: Shows what happens.

    Raises:
        AbsaError: Bad input, or training failed.
    """
    with interrupts() as interrupt, run_files(job, resume, view) as files:
        check_machine(job)
        view({"event": "phase", "text": "starting Ray and checking the job"})
        with ray_environment(job):
            return _train(job, resume, files, view, interrupt)


def _train(job: Job, resume: str | None, files: RunFiles, view: View, interrupt: Interrupts) -> int:
    import ray  # before the check, which imports as well: the two must not meet half-way

    check = _start_check(job, resume)
    with ray_session(job):
        controller = _start_controller()
        check.finish()
        try:
            run = files.open()
            _open(controller, run)
            view({"event": "phase", "text": f"starting {job.workers.min} worker(s)"})
            fit = SideThread("ray-train", trainer(job, run, controller).fit)
            interrupt.defer()
            return _Watch(job, fit, controller, view, interrupt).follow()
        except ray.exceptions.RayError as error:
            raise RayLostError(f"Ray stopped: {why_lost(error)}") from error
        finally:
            _close(controller)


def _start_check(job: Job, resume: str | None) -> SideThread:
    """Begin to build the job here, where a cluster of our own will see the same."""
    if job.cluster.address is not None:
        return SideThread("check", lambda: None)
    return SideThread("check", lambda: check_here(job, resume))


class _Watch:
    """Shows records until training has ended, and passes the user's wish to stop on."""

    def __init__(
        self, job: Job, fit: SideThread, controller: Any, view: View, interrupt: Interrupts
    ) -> None:
        self._job, self._fit, self._controller = job, fit, controller
        self._view, self._interrupt = view, interrupt
        self._cursor, self._reason, self._asked = 0, None, False
        self._deadline_s = time.monotonic() + job.workers.wait_s

    def follow(self) -> int:
        """Return the exit code."""
        over = False
        while not over:
            self._fit.join(POLL_S)
            over = not self._fit.is_alive()
            news = self._show()
            if self._interrupt.asked.is_set() and not self._asked:
                self._stop()
            if not news.has_workers and time.monotonic() > self._deadline_s:
                raise _no_workers(self._job)
        if self._fit.error is not None or self._reason is None:
            raise RayLostError(why_lost(self._fit.error))
        return exit_code(self._reason)

    def _show(self) -> News:
        import ray

        news: News = ray.get(self._controller.since.remote(self._cursor))
        self._cursor += len(news.records)
        for record in news.records:
            self._view(record)
            if record["event"] == "run_ended":
                self._reason = record["reason"]
        if news.failure is not None:
            raise _as_error(news.failure)
        return news

    def _stop(self) -> None:
        """Ask for a checkpoint at the next boundary; end at once when training has not begun."""
        import ray

        self._asked = True
        if ray.get(self._controller.give_up.remote()):
            raise KeyboardInterrupt
        self._view({"event": "phase", "text": "ending after a checkpoint; Ctrl-C ends at once"})
        command = Command("interrupted", stop="interrupted")
        ray.get(self._controller.command.remote(command))


def _open(controller: Any, run: OpenRun) -> None:
    import ray

    failure = ray.get(controller.open.remote(run.folder, run.lineage))
    if failure is not None:
        raise _as_error(failure)


def _close(controller: Any) -> None:
    """Close the journal, so that the report has all of it."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(controller.close.remote(), timeout=10)


def _as_error(failure: Failure) -> AbsaError:
    error = InputError if failure.exit_code == ExitCode.BAD_INPUT else TrainingFailedError
    return error(failure.message)


def _no_workers(job: Job) -> ClusterError:
    return ClusterError(
        f"{job.place('workers.wait_s')}: the cluster did not give {job.workers.min} worker(s) with "
        f"{job.workers.cpus:g} CPUs and {job.workers.gpus:g} GPUs each within workers.wait_s = "
        f"{job.workers.wait_s:g} s; it has {described_resources()}; lower workers.min, or wait "
        "longer"
    )


def _start_controller() -> Any:
    """Start the controller on this machine, where the run folder of a local path lies."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Controller).options(num_cpus=0, scheduling_strategy=here).remote()
