"""What can be found out before a run folder is made and workers are started."""

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

    composed = compose(job, torch.device("cpu"))
    if resume is not None:
        begin(composed, open_run(resume, job.storage))


def check_cluster(job: Job) -> None:
    """Compare the job's smallest number of workers with what the cluster has in all.

    A cluster that autoscales may grow: there the wait for workers decides, not this check.

    Raises:
        ClusterError: The cluster is one machine's, and too small.
    """
    import ray

    if job.cluster.address is not None:
        return
    total = ray.cluster_resources()
    for name, each in (("CPU", job.workers.cpus), ("GPU", job.workers.gpus)):
        wanted, there = job.workers.min * each, total.get(name, 0)
        if wanted > there:
            raise ClusterError(
                f"workers.min is {job.workers.min} with {each:g} {name} each, but this machine has "
                f"{there:g} {name}: at most {int(there // each)} such workers fit; lower "
                f"workers.min or workers.{name.lower()}s, or name a larger cluster in "
                "cluster.address"
            )
