"""What can be found out before a run folder is made and workers are started."""

import os

from absa.errors import ClusterError
from cluster.job import Job


def check_here(job: Job, resume: str | None) -> None:
    """Build the job once in this process: on this machine the workers will see the same.

    Args:
        job: The resolved job.
        resume: The run to go on with; its newest checkpoint must fit the job.

    Raises:
        InputError: The task, its data, the job or the checkpoint cannot be used.
    """
    import torch

    from absa.run_folder import open_run
    from cluster.compose import compose
    from cluster.session import begin
    from cluster.task_error import task_errors

    with task_errors(job):
        composed = compose(job, torch.device("cpu"))
    if resume is not None:
        begin(job, composed, open_run(resume, job.storage))


def check_machine(job: Job) -> None:
    """Compare the job's smallest number of workers with this machine, if it will train alone.

    What a named cluster gives shows when it is asked: it may have to start machines first.

    Raises:
        ClusterError: This machine is too small.
    """
    if job.cluster.address is not None:
        return
    _check_fits(job, "CPU", job.workers.cpus, os.cpu_count() or 1)
    if job.workers.gpus:
        import torch

        _check_fits(job, "GPU", job.workers.gpus, torch.cuda.device_count())


def described_resources() -> str:
    """Say what the cluster has in all."""
    import ray

    total = ray.cluster_resources()
    return f"{total.get('CPU', 0):g} CPUs and {total.get('GPU', 0):g} GPUs"


def _check_fits(job: Job, name: str, each: float, there: int) -> None:
    if job.workers.min * each <= there:
        return
    key = f"workers.{name.lower()}s"
    fit = int(there // each)
    raise ClusterError(
        f"{job.place('workers.min')}: workers.min is {job.workers.min} with {each:g} {name} each, "
        f"but this machine has {there} {name}s: at most {fit} such workers fit; lower workers.min "
        f"or {key}, or name a larger cluster in cluster.address"
    )
