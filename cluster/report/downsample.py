"""Thin a long series out without losing what one looks for: its extremes and its ends."""

from collections.abc import Sequence

MAX_POINTS = 2000
"""Points of a series in a report: two per pixel column of a wide chart."""


def keep_extremes(values: Sequence[float], limit: int = MAX_POINTS) -> list[int]:
    """Return the indices of at most ``limit`` values that draw the same curve.

    The series is cut into ``(limit - 2) // 2`` runs of equal length; the smallest and the largest
    value of each run stay (the first of equals), and so do the first and the last value of all. A
    spike of one point is never lost.

    Args:
        values: Finite numbers in the order in which they are drawn.
        limit: At least 4.

    Returns:
        Rising indices into ``values``; all of them when there are no more than ``limit``.
    """
    num_values = len(values)
    if num_values <= limit:
        return list(range(num_values))
    num_runs = (limit - 2) // 2
    kept = {0, num_values - 1}
    for run in range(num_runs):
        span = range(run * num_values // num_runs, (run + 1) * num_values // num_runs)
        kept.add(min(span, key=values.__getitem__))
        kept.add(max(span, key=values.__getitem__))
    return sorted(kept)


def keep_changes(values: Sequence[float]) -> list[int]:
    """Return the indices that draw a series of steps exactly: both ends of every level."""
    last = len(values) - 1
    return [
        i
        for i, value in enumerate(values)
        if i in (0, last) or value != values[i - 1] or value != values[i + 1]
    ]
