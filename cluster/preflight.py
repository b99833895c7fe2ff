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
    """Compare what the job demands of workers with this machine, if it will train alone.

    What a named cluster gives shows when it is asked: it may have to start machines first.

    Raises:
        ClusterError: This machine is too small for ``workers.min`` or for a step of
            ``elastic.plan``.
    """
    if job.cluster.address is not None:
        return
    demands = {"workers.min": job.workers.min}
    demands |= {
        f"elastic.plan.{i}.workers": s.workers for i, s in enumerate(job.elastic.plan or ())
    }
    for path, workers in demands.items():
        for name, each, there in _needs(job):
            _check_fits(job, (path, workers), name, each, there)


def workers_that_fit(job: Job) -> int:
    """Return how many workers there can be at most: ``workers.max``, or what this machine holds.

    Args:
        job: One that has passed `check_machine`.
    """
    assert job.workers.max is not None
    if job.cluster.address is not None:
        return job.workers.max
    return min([job.workers.max, *(int(there // each) for _, each, there in _needs(job))])


def _needs(job: Job) -> list[tuple[str, float, int]]:
    """Return name, number for each worker and number on this machine of what workers need."""
    needs = [("CPU", job.workers.cpus, os.cpu_count() or 1)]
    if job.workers.gpus:
        import torch

        needs.append(("GPU", job.workers.gpus, torch.cuda.device_count()))
    return needs


def described_resources() -> str:
    """Say what the cluster has in all."""
    import ray

    total = ray.cluster_resources()
    return f"{total.get('CPU', 0):g} CPUs and {total.get('GPU', 0):g} GPUs"


def _check_fits(job: Job, demand: tuple[str, int], name: str, each: float, there: int) -> None:
    path, workers = demand
    if workers * each <= there:
        return
    key = f"workers.{name.lower()}s"
    fit = int(there // each)
    raise ClusterError(
        f"{job.place(path)}: {path} is {workers} with {each:g} {name} each, "
        f"but this machine has {there} {name}s: at most {fit} such workers fit; lower {path} "
        f"or {key}, or name a larger cluster in cluster.address"
    )
