"""The Ray Train run of a job."""

from typing import Any

from cluster.job import Job
from cluster.run_files import RAY_TRAIN_FOLDER, OpenRun


def trainer(job: Job, run: OpenRun, controller: Any) -> Any:
    """Return a `ray.train.torch.TorchTrainer` that has not been started."""
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from cluster.worker import train_worker

    workers = job.workers
    resources = {"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {})
    return TorchTrainer(
        train_worker,
        train_loop_config={
            "job": job,
            "folder": run.folder,
            "controller": controller,
        },
        scaling_config=ScalingConfig(
            num_workers=workers.min, use_gpu=workers.gpus > 0, resources_per_worker=resources
        ),
        torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo", timeout_s=300),
        run_config=RunConfig(
            name=run.ray_train_name,
            storage_path=run.folder.storage.child(RAY_TRAIN_FOLDER).location,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(
                max_failures=workers.max_restarts,
                # Ray Train's default is to try for ever to start a group.
                controller_failure_limit=workers.max_restarts,
            ),
        ),
    )
