"""What another way to grow must be set to so that it makes as many updates."""

from benchmarks.fewer_updates.outcome import Outcome
from benchmarks.fewer_updates.size import FIRST_BATCH, NUM_TRAIN, Size

_HALVINGS = 60
"""Of the interval that a root lies in: to the last bit of a float."""


def clock_interval(updates: int, size: Size) -> float:
    """Return the epochs between two doublings with which the clock makes so many updates.

    Args:
        updates: Between those of the largest and of the first batch; outside, the nearer end.
        size: Of the benchmark.
    """
    low, high = 0.0, size.epochs
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if clock_updates(middle, size) < updates:
            low = middle
        else:
            high = middle
    return high


def clock_updates(every_epochs: float, size: Size) -> float:
    """Return about how many updates a clock makes that doubles the batch every so many epochs."""
    updates, left, batch = 0.0, size.epochs, FIRST_BATCH
    while left > 0:
        stretch = left if batch >= size.max_batch else min(every_epochs, left)
        updates += stretch * NUM_TRAIN / batch
        left -= stretch
        batch = min(2 * batch, size.max_batch)
    return updates


def even_batch(outcome: Outcome, size: Size) -> int:
    """Return the constant batch that makes as many updates of as many samples.

    It is a whole number of batch-norm groups, at most the largest batch.
    """
    groups = round(outcome.samples / outcome.updates / FIRST_BATCH)
    return min(max(groups, 1) * FIRST_BATCH, size.max_batch)
