"""An error that somebody's own task raised, told so that they find it."""

import contextlib
import importlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import absa
import cluster
from absa.errors import AbsaError, TaskError
from cluster.job import Job

_OURS = tuple(f"{Path(package.__path__[0]).resolve()}{os.sep}" for package in (absa, cluster))


@contextlib.contextmanager
def task_errors(job: Job) -> Iterator[None]:
    """Turn what the job's own task raises in a ``with`` block into a `TaskError` that tells it.

    Without a task of the user's own an error is absa's, and stays as it is.
    """
    try:
        yield
    except AbsaError:
        raise
    except Exception as error:
        if job.task is None:
            raise
        raise TaskError(f"{job.place('task.use')}: {tell(error)}") from error


def tell(error: BaseException) -> str:
    """Return a message with the traceback from the task's first line on; absa's own lines go."""
    start = error.__traceback__
    while start is not None and (_is_ours(start) or _imports(start)):
        start = start.tb_next
    lines = traceback.format_exception(type(error), error, start or error.__traceback__)
    return f"the task failed:\n{''.join(lines).rstrip()}"


def tell_briefly(error: BaseException) -> str:
    """Return a message of one line; one that nobody wrote for users says where it was raised."""
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, AbsaError):
        return lines[0]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {lines[0]}{where}"


def _is_ours(frame: TracebackType) -> bool:
    return frame.tb_frame.f_code.co_filename.startswith(_OURS)


def _imports(frame: TracebackType) -> bool:
    """Return whether a frame is Python's import of a module, not what the module does."""
    file = frame.tb_frame.f_code.co_filename
    return file == importlib.__file__ or file.startswith("<frozen importlib")
