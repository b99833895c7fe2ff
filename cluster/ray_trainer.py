"""The Ray Train run of a job."""

from typing import Any

from cluster.job import Job
from cluster.reservation import worker_resources
from cluster.run_files import RAY_TRAIN_FOLDER, OpenRun


def trainer(job: Job, run: OpenRun, controller: Any, num_workers: int, *, num_lost: int = 0) -> Any:
    """Return a `ray.train.torch.TorchTrainer` that has not been started.

    Args:
        job: The resolved job.
        run: The run; its lineage is that of the group.
        controller: The controller's actor.
        num_workers: Workers of the group.
        num_lost: How often a group of this run was lost before.
    """
    from ray.train.torch import TorchConfig, TorchTrainer

    from cluster.worker import train_worker

    restarts = max(0, job.workers.max_restarts - num_lost)
    return TorchTrainer(
        train_worker,
        train_loop_config={"job": job, "folder": run.folder, "controller": controller},
        torch_config=TorchConfig(backend="nccl" if job.workers.gpus else "gloo", timeout_s=300),
        **settings(job, run, num_workers, restarts),
    )


def settings(job: Job, run: OpenRun, num_workers: int, restarts: int) -> dict[str, Any]:
    """Return what a trainer of any kind is told of a job.

    Args:
        job: The resolved job.
        run: The run.
        num_workers: Workers of the group at first.
        restarts: How often a group that was lost is started again.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig

    return {
        "scaling_config": ScalingConfig(
            num_workers=num_workers,
            use_gpu=job.workers.gpus > 0,
            resources_per_worker=worker_resources(job),
        ),
        "run_config": RunConfig(
            name=run.ray_train_name,
            storage_path=run.folder.storage.child(RAY_TRAIN_FOLDER).location,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(
                max_failures=restarts,
                # Ray Train's default is to try for ever to start a group.
                controller_failure_limit=restarts,
            ),
        ),
    }
