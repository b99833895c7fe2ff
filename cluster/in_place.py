"""``elastic.mode: in_place``: workers join and leave the group while it trains."""

from typing import Any

from absa.events import Record
from cluster.elastic.invitation import Invitation
from cluster.elastic.protocol.coordinator import Limits
from cluster.elastic.wish import Wanted
from cluster.job import Job
from cluster.ray_trainer import settings
from cluster.run_files import OpenRun
from cluster.side_thread import SideThread


class InPlaceTraining:
    """Trains with one group of workers that changes; a `Training`.

    Args:
        job: The resolved job.
        run: The run.
        controller: The controller's actor; it coordinates the workers.
    """

    def __init__(self, job: Job, run: OpenRun, controller: Any) -> None:
        from cluster.elastic.ray_worker import train_elastic
        from cluster.elastic.raytrain import InPlaceTrainer

        self._controller = controller
        self._wanted: Wanted | None = None
        config = {
            "job": job,
            "folder": run.folder,
            "controller": controller,
            "invitation": _invite(job, controller),
        }
        self._trainer = InPlaceTrainer(
            train_elastic,
            controller=controller,
            train_loop_config=config,
            **settings(job, run, job.workers.min, job.workers.max_restarts),
        )
        self._fit = SideThread("ray-train", self._trainer.fit)

    @property
    def error(self) -> BaseException | None:
        """What training failed with."""
        return self._fit.error

    @property
    def is_resizing(self) -> bool:
        """Never: no resize ends the group."""
        return False

    def has_ended(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it has come."""
        self._fit.join(timeout_s)
        return not self._fit.is_alive()

    def take(self, record: Record) -> None:
        """Do nothing: the coordinator knows."""

    def steer(self, wanted: Wanted) -> None:
        """Tell the coordinator if another number of workers is wanted."""
        import ray

        if wanted != self._wanted:  # the same number, asked for again, is a new wish
            self._wanted = wanted
            ray.get(self._controller.wish.remote(wanted.workers, wanted.reason))

    def start_next(self, wanted: Wanted) -> int:
        """Fail: there is never another group."""
        raise NotImplementedError("a group that changes in place has no successor")

    def close(self) -> None:
        """Remove the placement groups that are left if Ray Train's own controller was lost."""
        from cluster.elastic.places import release_placement_groups

        release_placement_groups(self._trainer.prefix)


def _invite(job: Job, controller: Any) -> Invitation:
    import ray

    limits = Limits(start_s=job.elastic.start_s)
    ip = "127.0.0.1" if job.cluster.address is None else ray.util.get_node_ip_address()
    invitation: Invitation = ray.get(controller.invite.remote(limits, job.workers.min, ip))
    return invitation
