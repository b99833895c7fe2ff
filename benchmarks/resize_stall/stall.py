"""How long one change of the number of workers held training up, and what was lost by it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.resize_stall.cases import Change, Size

UPDATES = 16
"""Updates of a group between two changes."""

SETTLE_UPDATES = 3
"""So many of them do not count as normal: caches and buffers are cold."""


@dataclass(frozen=True)
class Stall:
    """One change as it happened.

    Args:
        size: The model.
        change: What was asked for, or who was killed.
        seconds: From the end of the last update before to the end of the first after, minus a
            normal update of the group after. Ours makes the first update after workers joined
            without them, while the state moves: to the end of the second, minus a normal update
            of either group.
        normal_s: That update: the median of those that followed.
        phases: What ``seconds`` consists of.
        lost_worker_s: Worker-seconds that were held and did not train, see `lost_worker_s`.
    """

    size: Size
    change: Change
    seconds: float
    normal_s: float
    phases: Mapping[str, float]
    lost_worker_s: float


def normal_update_s(ends_s: Sequence[float]) -> float:
    """Return the median time of an update.

    Args:
        ends_s: When updates of one group ended, in order; more than `SETTLE_UPDATES` + 1.
    """
    settled = ends_s[SETTLE_UPDATES:]
    return statistics.median(b - a for a, b in pairwise(settled))


def lost_worker_s(
    change: Change,
    stall_s: float,
    newcomers_s: Sequence[float] = (),
    slowdown: float = 0.0,
    warmup_s: float = 0.0,
) -> float:
    """Return the worker-seconds that a change cost.

    Those who stay lose the stall. A newcomer is held from its start to the first update that it
    takes part in. Those who train on while it warms up lose the share by which they are slower.

    Args:
        change: From how many workers to how many.
        stall_s: Seconds without an update.
        newcomers_s: For each, the seconds from its start to the end of the stall.
        slowdown: 1 - updates per second while newcomers warm up / before; 0 when none do.
        warmup_s: How long they warm up beside those who train.
    """
    staying = min(change.before, change.after)
    return staying * stall_s + sum(newcomers_s) + change.before * slowdown * warmup_s
