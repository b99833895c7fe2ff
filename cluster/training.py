"""How the job's workers are run: with a group that changes in place, or with one after another."""

from dataclasses import replace
from typing import Any, Protocol

from absa.events import Record
from cluster.controller_handle import controller_handle
from cluster.elastic.config import Mode
from cluster.elastic.wish import Wanted
from cluster.in_place import InPlaceTraining
from cluster.job import Job
from cluster.restart import Group, RestartTraining, Starters
from cluster.run_files import OpenRun
from cluster.side_thread import SideThread


class Training(Protocol):
    """Workers that train in the background."""

    @property
    def error(self) -> BaseException | None:
        """What training failed with, once it has ended."""
        ...

    @property
    def is_resizing(self) -> bool:
        """Whether the end, if it comes, is for another group to go on."""
        ...

    def has_ended(self, timeout_s: float) -> bool:
        """Wait so long for the end; return whether it has come."""
        ...

    def take(self, record: Record) -> None:
        """Follow what the workers do."""
        ...

    def steer(self, wanted: Wanted) -> None:
        """Say how many workers are wanted; called often, while there are some that train."""
        ...

    def start_next(self, wanted: Wanted) -> int:
        """Start another group after an end for that; return the number of its workers."""
        ...

    def close(self) -> None:
        """Give back whatever of the cluster is still held."""
        ...


def usable_mode(job: Job) -> tuple[Mode, str | None]:
    """Return the mode that the job gets, and why if it is not the one that it asks for."""
    if job.elastic.mode == "restart":
        return "restart", None
    from cluster.elastic.ray_gate import supported

    reason = supported()
    return ("in_place", None) if reason is None else ("restart", reason)


def start_training(mode: Mode, job: Job, run: OpenRun, controller: Any) -> Training:
    """Start ``workers.min`` workers.

    Args:
        mode: What `usable_mode` returned.
        job: The resolved job.
        run: The run, opened.
        controller: The controller's actor.
    """
    if mode == "restart":
        return _restart_training(job, run, controller)
    return InPlaceTraining(job, run, controller)


def _restart_training(job: Job, run: OpenRun, controller: Any) -> RestartTraining:
    from cluster.ray_trainer import trainer
    from cluster.reservation import Reservation

    def group(wanted: Group) -> SideThread:
        # Under the name of an older group Ray Train would restore that one's state.
        begun = run if wanted.lineage is None else replace(run, lineage=wanted.lineage)
        made = trainer(job, begun, controller, wanted.num_workers, num_lost=wanted.num_lost)
        return SideThread("ray-train", made.fit)

    starters = Starters(group, lambda num: Reservation(job, num), job.elastic.start_s)
    return RestartTraining(starters, controller_handle(controller), job.workers.min)
