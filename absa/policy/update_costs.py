"""What updates were measured to take: sifted, and pooled by how they were cut."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from absa.policy.throughput import Load

_NORMAL_QUARTILE = 0.6745
"""Half of a normal variable's values lie within so many standard deviations."""


@dataclass(frozen=True)
class UpdateCost:
    """One measurement.

    Args:
        load: How the updates were cut.
        update_s: Median seconds of an update; what is not positive and finite is left out.
        num_updates: Updates that it is the median of; less than 1: left out.
    """

    load: Load
    update_s: float
    num_updates: int = 1


@dataclass(frozen=True, eq=False)
class Pooled:
    """Measurements of the same cut, taken together.

    Args:
        loads: The different cuts.
        log_s: Logarithm of the seconds of each.
        variance: Of each of these, as the scatter of the measurements says.
        num_updates: Measured in all.
        left_out: What was not used, in plain words; empty if all was.
    """

    loads: tuple[Load, ...]
    log_s: Float[np.ndarray, " loads"]
    variance: Float[np.ndarray, " loads"]
    num_updates: int
    left_out: str = ""


def pool(costs: Sequence[UpdateCost]) -> Pooled:
    """Take the median over all measurements of the same cut.

    A median, because some updates are disturbed: the first ones, those beside a checkpoint. Its
    variance is pi / 2 of that of a mean. The scatter is taken from measurements that follow each
    other, so that a machine that slowly changes counts as an error of the model, not as noise that
    averages out.

    Args:
        costs: In the order in which they were made.

    Returns:
        What they say; without any load if nothing can be used.

    Source: von Neumann et al. 1941, "The mean square successive difference"; Ann. Math. Stat. 12.
    """
    usable = [cost for cost in costs if _is_usable(cost)]
    by_load: dict[Load, list[tuple[float, int]]] = defaultdict(list)
    for cost in usable:
        by_load[cost.load].append((math.log(cost.update_s), cost.num_updates))
    scatter = _scatter([[log_s for log_s, _ in rows] for rows in by_load.values()])
    return Pooled(
        loads=tuple(by_load),
        log_s=np.array([_weighted_median(rows) for rows in by_load.values()], float),
        variance=np.array(
            [math.pi / 2 * scatter**2 / _effective(rows) for rows in by_load.values()], float
        ),
        num_updates=sum(cost.num_updates for cost in usable),
        left_out=_left_out(len(costs), len(costs) - len(usable)),
    )


def _is_usable(cost: UpdateCost) -> bool:
    return 0 < cost.update_s < math.inf and cost.num_updates >= 1


def _left_out(num: int, num_refused: int) -> str:
    if num_refused == 0:
        return ""
    return (
        f"{num_refused} of {num} measurements were left out: their seconds are zero, negative or "
        "not finite, or they stand for no update"
    )


def _scatter(series: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of a measurement about its neighbours; 0 if none has any."""
    steps = [abs(after - before) for one in series for before, after in pairwise(one)]
    return float(np.median(steps)) / (_NORMAL_QUARTILE * math.sqrt(2)) if steps else 0.0


def _weighted_median(rows: Sequence[tuple[float, int]]) -> float:
    """Return the middle of all updates; between two measurements if it falls there."""
    ordered = sorted(rows)
    reached = np.cumsum([num for _, num in ordered])
    half = reached[-1] / 2
    first, last = np.searchsorted(reached, half), np.searchsorted(reached, half, side="right")
    return (ordered[int(first)][0] + ordered[min(int(last), len(ordered) - 1)][0]) / 2


def _effective(rows: Sequence[tuple[float, int]]) -> float:
    """Return how many measurements of equal weight would be as exact."""
    weights = [float(num) for _, num in rows]
    return sum(weights) ** 2 / sum(weight**2 for weight in weights)
