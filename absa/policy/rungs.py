"""The sizes that a batch grows through."""

import math

from absa.policy.limits import Limits


def within(batch: float, limits: Limits) -> int:
    """Return the largest batch that is allowed and not above the given one.

    Args:
        batch: In samples, > 0.
        limits: What is allowed; where nothing below ``batch`` is, the smallest that is.
    """
    highest = min(batch, limits.max_batch)
    fitting = math.floor(highest / limits.unit + _ROUNDING) * limits.unit
    lowest = math.ceil(limits.min_batch / limits.unit) * limits.unit
    return max(fitting, lowest)


def next_up(batch: int, factor: float, limits: Limits) -> int:
    """Return the batch that one growth leads to; the same if there is no larger one.

    A small batch is rounded up where rounding down would leave it as it is.

    Args:
        batch: In samples.
        factor: Of growth, > 1.
        limits: What is allowed.
    """
    grown = max(within(batch * factor, limits), within(batch + limits.unit, limits))
    return max(grown, batch)


def next_down(batch: int, factor: float, limits: Limits) -> int:
    """Return the batch that undoes one growth; the same if there is no smaller one."""
    return min(within(batch / factor, limits), batch)


_ROUNDING = 1e-9
"""So that a product that is a whole number but for rounding counts as one."""
