"""How many threads a worker computes with."""

import os

from cluster.job import Job


def num_threads(job: Job, workers_here: int) -> int:
    """Return a worker's intra-op threads: its share of the machine's cores.

    Two workers with two threads each on two cores were four times slower than with one. On a
    machine that this job has for itself the share is that of the largest group, so that it stays
    the same when workers join: the number of threads changes the last bits of gradients.

    Args:
        job: The resolved job.
        workers_here: Workers on this machine.
    """
    if job.workers.threads is not None:
        return job.workers.threads
    workers = workers_here
    if job.cluster.address is None:
        workers = max(workers, job.workers.max or 1)
    return max((os.cpu_count() or 1) // workers, 1)
