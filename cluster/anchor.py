"""Make a job independent of the folder and the environment that it was given in."""

import os
from pathlib import Path

from cluster.job import Job


def anchored(job: Job) -> Job:
    """Return the job with the folder of its data written out in full.

    Workers may have another working directory and another environment than the command that
    started them, and a run may be resumed from elsewhere.

    Args:
        job: The resolved job; ``data.root`` may be relative, or left to ``ABSA_DATA``.
    """
    root = job.data.root or os.environ.get("ABSA_DATA")
    if job.task is not None or job.data.name == "digits" or not root:
        return job
    data = job.data.model_copy(update={"root": str(Path(root).expanduser().absolute())})
    return job.model_copy(update={"data": data})
