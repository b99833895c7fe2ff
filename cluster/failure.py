"""What a worker's error is to its run."""

from absa.errors import AbsaError
from cluster.controller import Failure
from cluster.exit_code import ExitCode
from cluster.task_error import tell


def as_failure(error: Exception, who: str) -> Failure:
    """Return why the run cannot go on.

    Args:
        error: What a worker raised.
        who: Which worker, for an error that was not written for users.
    """
    if isinstance(error, AbsaError):
        return Failure(str(error), error.exit_code)
    return Failure(f"{who}: {tell(error)}", int(ExitCode.TRAINING_FAILED))
