"""Room for more workers, asked of the cluster while the old ones train on."""

from typing import Any

from cluster.job import Job


def worker_resources(job: Job) -> dict[str, float]:
    """Return what Ray reserves for one worker."""
    workers = job.workers
    return {"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {})


class Reservation:
    """Holds the room for some workers; a cluster that grows on demand sees the demand.

    Args:
        job: Says what a worker needs.
        num_workers: How many.
    """

    def __init__(self, job: Job, num_workers: int) -> None:
        from ray.util.placement_group import placement_group

        self.num_workers = num_workers
        self._group: Any = placement_group([worker_resources(job)] * num_workers)

    def is_there(self) -> bool:
        """Return whether the cluster has given all of it."""
        there: bool = self._group.wait(timeout_seconds=0)
        return there

    def release(self) -> None:
        """Give it back, or take the demand back."""
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(self._group)
