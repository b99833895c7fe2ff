"""What every worker process runs inside Ray Train."""

import traceback
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from absa.collective import Collective, ProcessGroup, SingleProcess
from absa.errors import AbsaError
from absa.outside import Outside
from cluster.compose import Composed, compose
from cluster.controller_link import ControllerLink, NoLink
from cluster.exit_code import ExitCode
from cluster.job import Job
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
    try:
        job: Job = config["job"]
        collective = _collective()
        composed = _compose(job, controller)
        _train(job, composed, config["folder"], collective, controller)
    except AbsaError as error:
        # Ray Train would start the group again, and the same input would fail in the same way.
        ray.get(controller.fail.remote(str(error), int(error.exit_code)))
        raise


def _compose(job: Job, controller: Any) -> Composed:
    workers_here = ray.train.get_context().get_local_world_size()
    torch.set_num_threads(num_threads(job, workers_here))
    try:
        return compose(job, ray.train.torch.get_device())
    except AbsaError:
        raise
    except Exception:
        # The user's code, which would fail again in a restarted group.
        message = f"the task could not be set up:\\n{traceback.format_exc()}"
        ray.get(controller.fail.remote(message, int(ExitCode.TRAINING_FAILED)))
        raise


def _train(
    job: Job, composed: Composed, folder: Any, collective: Collective, controller: Any
) -> None:
    first = collective.rank == 0
    lineage = collective.broadcast_value(
        ray.get(controller.begin.remote()) if first else None, source=0
    )
    beginning = begin(composed, folder)
    link = ControllerLink(controller, lineage) if first else NoLink()
    try:
        saver = RaySaver(FolderSaver(folder, job, link.record, rank=collective.rank))
        outside = Outside(collective, link, saver, lineage=lineage)
        train(job, composed, beginning, folder.name, outside)
    finally:
        link.close()


def _collective() -> Collective:
    if ray.train.get_context().get_world_size() == 1:
        return SingleProcess()
    group = dist.group.WORLD
    assert group is not None
    return ProcessGroup(group)
