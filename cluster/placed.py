"""Bad input that shows only when it is used, told with where in the job it was written."""

import contextlib
import re
from collections.abc import Iterator

from absa.errors import ConfigError, DataError, TaskError
from cluster.job import Job
from cluster.show_value import show

_KEYS = re.compile(r"\w+(\.\w+)+")


@contextlib.contextmanager
def placed(job: Job, path: str) -> Iterator[None]:
    """Begin the message of an error in a ``with`` block with the place of the key to blame.

    Args:
        job: Knows where its values were written.
        path: The key to blame, such as ``data.root``, unless the message begins with another one
            that was written.
    """
    try:
        yield
    except (ConfigError, DataError, TaskError) as error:
        raise type(error)(_placed(job, path, str(error))) from error


def _placed(job: Job, path: str, message: str) -> str:
    named = _KEYS.match(message)
    if named is None or named[0].split(".")[0] != path.split(".")[0]:
        return f"{job.place(path)}: {path} = {show(_value(job, path))}: {message}"
    return f"{job.place(named[0] if job.is_written(named[0]) else path)}: {message}"


def _value(job: Job, path: str) -> object:
    value: object = job
    for key in path.split("."):
        value = getattr(value, key)
    return value
