"""``absa train``: starts a Ray Train run, shows it while it happens, and waits for its end."""

import contextlib
from typing import Any

from absa.events import Record
from cluster.controller import Controller
from cluster.controller_handle import controller_handle
from cluster.elastic.wish import Wish
from cluster.follow import Followed, Follower, as_error
from cluster.interrupt import Interrupts, interrupts
from cluster.job import Job
from cluster.operator import Operator
from cluster.operator_line import operator_line
from cluster.own_ray import RayLostError
from cluster.preflight import check_here, check_machine, workers_that_fit
from cluster.ray_failure import why_lost
from cluster.ray_session import ray_environment, ray_session
from cluster.run_files import OpenRun, RunFiles, run_files
from cluster.side_thread import SideThread
from cluster.training import start_training, usable_mode
from cluster.views.view import View


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
            wish = Wish(job, workers_that_fit(job))
            handle = controller_handle(controller)
            operator = Operator(job, wish, handle.command)
            with operator_line(operator.obey, _own_address(job), run.folder.storage):
                mode, why_not = usable_mode(job)
                training = start_training(mode, job, run, controller)
                interrupt.defer()
                remarks = _remarks(job, wish.most, why_not)
                followed = Followed(job, run.folder, handle, training, wish, remarks)
                try:
                    return Follower(followed, view, interrupt).follow()
                finally:
                    training.close()
        except ray.exceptions.RayError as error:
            raise RayLostError(f"Ray stopped: {why_lost(error)}") from error
        finally:
            _close(controller)


def _start_check(job: Job, resume: str | None) -> SideThread:
    """Begin to build the job here, where a cluster of our own will see the same."""
    if job.cluster.address is not None:
        return SideThread("check", lambda: None)
    return SideThread("check", lambda: check_here(job, resume))


def _own_address(job: Job) -> str:
    """Return where this machine can be reached by those who share the run's folder."""
    if job.cluster.address is None:
        return "127.0.0.1"
    import ray

    address: str = ray.util.get_node_ip_address()
    return address


def _remarks(job: Job, most: int, why_not_in_place: str | None) -> list[Record]:
    """Return what the journal should say of wishes that cannot come true."""
    found: list[Record] = []
    if most != job.workers.max:
        changed = {"workers.max": [job.workers.max, most]}
        reason = "more workers do not fit on this machine"
        found.append({"event": "settings", "changed": changed, "reason": reason})
    if why_not_in_place is not None:
        found.append(
            {
                "event": "fault",
                "what": "elastic.mode in_place is not possible",
                "detail": f"{why_not_in_place}; restart is used",
            }
        )
    return found


def _open(controller: Any, run: OpenRun) -> None:
    import ray

    failure = ray.get(controller.open.remote(run.folder, run.lineage))
    if failure is not None:
        raise as_error(failure)


def _close(controller: Any) -> None:
    """Close the journal, so that the report has all of it."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(controller.close.remote(), timeout=10)


def _start_controller() -> Any:
    """Start the controller on this machine, where the run folder of a local path lies."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Controller).options(num_cpus=0, scheduling_strategy=here).remote()
