"""How many updates samples take: the last one of an epoch may be short."""

import math
from collections.abc import Sequence


def count_updates(stages: Sequence[tuple[float, float]], end: float, num_train: float) -> int:
    """Return the updates that a course of batches takes.

    Args:
        stages: From which sample on which global batch, above 0; in order, the first from 0.
        end: Samples after which it ends.
        num_train: Samples of an epoch, above 0.
    """
    ends = [*(start for start, _ in stages[1:]), end]
    return sum(
        _updates(start, min(stop, end), batch, num_train)
        for (start, batch), stop in zip(stages, ends, strict=True)
        if start < min(stop, end)
    )


def _updates(start: float, stop: float, batch: float, num_train: float) -> int:
    """Return the updates of one batch: of the epoch begun, of whole ones, and of the last."""
    first = min(stop, (start // num_train + 1) * num_train)
    whole, last = divmod(stop - first, num_train)
    parts = ((first - start, 1.0), (num_train, whole), (last, 1.0))
    return sum(math.ceil(samples / batch) * int(times) for samples, times in parts)
