"""What every worker process runs inside Ray Train when workers join and leave in place."""

import contextlib
import logging
import os
from types import TracebackType
from typing import Any, Self

import ray
import ray.train
import ray.train.torch
import torch

from absa.boundary import Boundary
from absa.host_memory import keep_freed_memory
from absa.outside import Saver
from absa.run_folder import RunFolder
from cluster.controller import ReplacedError
from cluster.controller_link import ControllerLink
from cluster.elastic.arrivals import LEFT
from cluster.elastic.membership import CutOffError, Membership
from cluster.elastic.nobody import NoBoundary, NoSaver
from cluster.elastic.ranks import ranks
from cluster.elastic.raytrain import set_context
from cluster.elastic.surroundings import Place
from cluster.elastic.worker import Worker
from cluster.failure import as_failure
from cluster.job import Job
from cluster.lost_peer import may_pass
from cluster.saver import FolderSaver
from cluster.task_error import tell_briefly
from cluster.threads import num_threads

_LOG = logging.getLogger(__name__)


def train_elastic(config: dict[str, Any]) -> str | None:
    """Train in every generation that this worker is a member of.

    Args:
        config: ``job`` (resolved), ``folder`` (the run's), ``controller`` (its actor) and
            ``invitation`` (to the group).

    Returns:
        `LEFT` if the run goes on without this worker.
    """
    label = ray.get_runtime_context().get_actor_id()
    membership = Membership(config["invitation"], label, ray.util.get_node_ip_address())
    outcome = _train(config, membership)
    # Whoever has hung up may write nothing. One that failed does not: it is not lost, it is ended.
    membership.close()
    return outcome


def _train(config: dict[str, Any], membership: Membership) -> str | None:
    job, controller = config["job"], config["controller"]
    node = ray.get_runtime_context().get_node_id()
    surroundings = RaySurroundings(job, config["folder"], controller, membership, node)
    try:
        torch.set_num_threads(num_threads(job, _room_here(job)))
        keep_freed_memory()
        device = ray.train.torch.get_device()
        with surroundings:
            worker = Worker(job, config["folder"], membership, device, surroundings)
            outcome = worker.run()
    except (CutOffError, ReplacedError) as error:
        _LOG.warning("%s", error)  # the group goes on without it
        return LEFT
    except Exception as error:
        if not may_pass(error):
            # Ray Train would start the group again, and it would fail in the same way.
            failure = as_failure(error, f"worker {membership.worker}")
            ray.get(controller.fail.remote(failure, surroundings.lineage, tell_briefly(error)))
        raise
    return LEFT if outcome is None else None


class RaySurroundings:
    """What a worker finds around itself inside Ray Train.

    Args:
        job: The resolved job.
        folder: The run's.
        controller: The run's controller actor.
        membership: This worker's.
        node: The id of the node that this process runs on.
    """

    def __init__(
        self, job: Job, folder: RunFolder, controller: Any, membership: Membership, node: str
    ) -> None:
        self.node = node
        self.lineage: int | None = None
        self._job, self._folder, self._controller = job, folder, controller
        self._membership = membership
        self._link: ControllerLink | None = None
        self._saver: FolderSaver | None = None

    def enter(self, place: Place) -> tuple[Boundary, Saver]:
        """Take a place; rank 0 talks to the controller and saves."""
        mine = ranks(place.nodes)[place.rank]
        set_context(
            mine.rank, mine.world_size, mine.local_rank, mine.local_world_size, mine.node_rank
        )
        self.lineage = place.lineage
        if place.rank != 0:
            return NoBoundary(), NoSaver()
        if self._link is None or self._saver is None:
            self._link = ControllerLink(self._controller, place.lineage, place.generation)
            permit = self._membership.wait_for_lease
            record = self._link.record
            self._saver = FolderSaver(self._folder, self._job, record, rank=0, permit=permit)
        self._link.lineage, self._link.generation = place.lineage, place.generation
        return self._link, self._saver

    def flush(self) -> None:
        """Return once the controller has every record."""
        if self._link is not None:
            self._link.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Return once everything is written and the controller knows of it."""
        # What went wrong before must not be hidden by what then cannot be told.
        hidden = () if error is None else (ray.exceptions.RayError,)
        with contextlib.suppress(*hidden), contextlib.ExitStack() as last:
            if self._link is not None:
                last.callback(self._link.close)
            if self._saver is not None:
                self._saver.__exit__(kind, error, traceback)


def _room_here(job: Job) -> int:
    """Return how many workers this machine has room for: others may come, and take their share."""
    return max(int((os.cpu_count() or 1) / job.workers.cpus), 1)
