"""An error that somebody's own task raised, told so that they find it."""

import traceback
from pathlib import Path
from types import TracebackType

import absa
import cluster

_OURS = tuple(str(Path(package.__path__[0]).resolve()) for package in (absa, cluster))


def tell(error: BaseException, rank: int) -> str:
    """Return a message with the traceback from the task's first line on; absa's own lines go.

    Args:
        error: What was raised while training.
        rank: Where.
    """
    start = error.__traceback__
    while start is not None and _is_ours(start):
        start = start.tb_next
    lines = traceback.format_exception(type(error), error, start or error.__traceback__)
    return f"the task failed on rank {rank}:\n{''.join(lines).rstrip()}"


def _is_ours(frame: TracebackType) -> bool:
    return frame.tb_frame.f_code.co_filename.startswith(_OURS)
