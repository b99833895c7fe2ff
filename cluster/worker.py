"""What every worker process runs inside Ray Train."""

from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from absa.collective import ALONE, Collective
from absa.errors import DivergenceError
from absa.host_memory import keep_freed_memory
from absa.outside import Outside
from absa.run_folder import RunFolder
from cluster.compose import compose
from cluster.controller_link import ControllerLink
from cluster.elastic.nobody import NoBoundary
from cluster.failure import as_failure
from cluster.job import Job
from cluster.lost_peer import GroupOfRay, may_pass
from cluster.ray_saver import RaySaver
from cluster.saver import FolderSaver
from cluster.session import begin, train
from cluster.threads import num_threads


def train_worker(config: dict[str, Any]) -> None:
    """Train one rank from the start, or from the run's newest checkpoint, to the end.

    Args:
        config: ``job`` (resolved), ``folder`` (the run's) and ``controller`` (its
            actor).
    """
    controller = config["controller"]
    collective = _collective()
    mine = ray.get(controller.begin.remote()) if collective.rank == 0 else None
    lineage = collective.broadcast_value(mine, source=0)
    try:
        _train(config["job"], config["folder"], collective, controller, lineage)
    except Exception as error:
        if isinstance(error, DivergenceError):
            # All ranks diverge at one update, and the driver ends the run at the first that says
            # so: that must not be before rank 0's last records have arrived.
            collective.broadcast_value(None, source=0)
        if not may_pass(error):
            # Ray Train would start the group again, and it would fail in the same way.
            failure = as_failure(error, f"rank {collective.rank}")
            ray.get(controller.fail.remote(failure, lineage))
        raise


def _train(
    job: Job, folder: RunFolder, collective: Collective, controller: Any, lineage: int
) -> None:
    workers_here = ray.train.get_context().get_local_world_size()
    torch.set_num_threads(num_threads(job, workers_here))
    keep_freed_memory()
    composed = compose(job, ray.train.torch.get_device())
    beginning = begin(job, composed, folder, collective)
    link = ControllerLink(controller, lineage) if collective.rank == 0 else None
    try:
        boundary = link or NoBoundary()
        with FolderSaver(folder, job, boundary.record, rank=collective.rank) as saver:
            outside = Outside(collective, boundary, RaySaver(saver), lineage=lineage)
            train(job, composed, beginning, folder.name, outside)
    finally:
        if link is not None:
            link.close()


def _collective() -> Collective:
    if ray.train.get_context().get_world_size() == 1:
        return ALONE
    group = dist.group.WORLD
    assert group is not None
    return GroupOfRay(group)
