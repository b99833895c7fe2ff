"""Which checkpoints a run keeps, and which of them is meant by newest and best."""

import math
import warnings
from collections.abc import Sequence

from absa.checkpoint import (
    CheckpointInfo,
    checkpoint_info,
    checkpoint_names,
    folders,
    newest,
)
from absa.errors import CheckpointError
from absa.manifest import MANIFEST_FILE
from absa.storage import Storage


def list_checkpoints(folder: Storage) -> list[CheckpointInfo]:
    """Return the checkpoints that are there in full size, the oldest first.

    One that is not, or of another version, is left out with a warning. Contents are not read.
    """
    found = []
    for name in checkpoint_names(folder):
        try:
            found.append(checkpoint_info(folder, name))
        except CheckpointError as damage:
            warnings.warn(f"checkpoint {name} is left out: {damage}", stacklevel=2)
    return found


def best(checkpoints: Sequence[CheckpointInfo]) -> str | None:
    """Return the checkpoint with the highest finite ``best_metric``, the earliest of equal ones.

    Args:
        checkpoints: The oldest first.
    """
    rated = [(metric, c.name) for c in checkpoints if (metric := _metric(c)) is not None]
    return max(rated, key=lambda pair: pair[0])[1] if rated else None


def choose(folder: Storage, wanted: str) -> str:
    """Return the name of the checkpoint that is meant.

    Args:
        folder: The run's ``checkpoints``.
        wanted: ``newest``, ``best``, or a name, which is returned whether there is one or not.

    Raises:
        CheckpointError: There is none yet.
    """
    if wanted not in ("newest", "best"):
        return wanted
    name = newest(folder) if wanted == "newest" else best(list_checkpoints(folder))
    if name is None:
        rated = " with a best_metric" if wanted == "best" else ""
        raise CheckpointError(f"{folder.location} has no checkpoint{rated} yet")
    return name


def prune(folder: Storage, keep_last: int, *, keep_best: bool) -> list[str]:
    """Remove old checkpoints, and what saves that were cut off left behind.

    The newest that is whole and, with ``keep_best``, the best are never removed; one that is
    damaged or of another version is not touched and not counted. The manifest goes first, so a
    removal that is cut off leaves no checkpoint that looks complete.

    Args:
        folder: The run's ``checkpoints``. Nobody may be saving there meanwhile: call it where
            they are saved (the writer's ``on_done``).
        keep_last: How many of the newest stay, at least 1.
        keep_best: Keep the best as well.

    Returns:
        The checkpoints removed.
    """
    if keep_last < 1:
        raise ValueError(f"keep_last is {keep_last}, must be at least 1")
    checkpoints = list_checkpoints(folder)
    kept = {c.name for c in checkpoints[-keep_last:]}
    if keep_best:
        kept.add(best(checkpoints) or "")
    removed = [c.name for c in checkpoints if c.name not in kept]
    for name in removed:
        folder.child(name).remove(MANIFEST_FILE)
        folder.remove(name)
    complete = set(checkpoint_names(folder))
    for name in folders(folder):
        if name not in complete:
            folder.remove(name)
    return removed


def _metric(checkpoint: CheckpointInfo) -> float | None:
    metric = checkpoint.about.get("best_metric")
    if isinstance(metric, bool) or not isinstance(metric, int | float):
        return None
    return float(metric) if math.isfinite(metric) else None
