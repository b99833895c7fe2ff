"""How many updates samples take: the last one of an epoch may be short."""

from collections.abc import Sequence


def count_updates(stages: Sequence[tuple[float, float]], end: float, num_train: float) -> int:
    """Return the updates that a course of batches takes.

    Args:
        stages: From which sample on which global batch, in order, the first from 0.
        end: Samples after which it ends.
        num_train: Samples of an epoch, above 0.
    """
    total = 0
    ends = [*(start for start, _ in stages[1:]), end]
    for (start, batch), stop in zip(stages, ends, strict=True):
        at = start
        while at < min(stop, end):
            until = min(stop, end, (at // num_train + 1) * num_train)
            total += -int(-(until - at) // batch)
            at = until
    return total
