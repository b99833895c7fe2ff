"""How many workers a training deserves.

Each worker costs as much as the first but adds less. With a floor f, a further worker pays if it
adds at least f of what one worker alone achieves. Goodput rises in steps, because groups of samples
cannot be shared: 8 groups go no faster on 5, 6 or 7 workers than on 4, but twice as fast on 8. So
workers are not judged one by one. The number that maximises

    goodput(K) - f goodput(1) K

is the last one up to which every stretch of further workers adds on average at least the floor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from absa.errors import ConfigError
from absa.policy.goodput import Goodput, Work, goodputs
from absa.policy.throughput import ThroughputModel
from absa.signals import NoiseScale


@dataclass(frozen=True)
class WorkerLimits:
    """Between what a number of workers is chosen, and what it has to bring.

    Args:
        min: Fewest, at least 1.
        max: Most, at least ``min``.
        floor: What each further worker must add, as a share of the goodput of one worker, in
            (0, 1].
        switch_gain: Below this the numbers are as good as equal and the present one is kept, at
            least 1: a change must bring (switch_gain - 1) of the present goodput, after the floor
            for each worker more is taken off, or is added for each worker less. Pollux's 1.05.
        reach: At most so many times the most workers that were measured, at least 1. Pollux's 2:
            a step may be taken on a guess, and is measured before the next.

    Raises:
        ConfigError: They contradict each other.
    """

    min: int
    max: int
    floor: float = 0.5
    switch_gain: float = 1.05
    reach: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.max:
            raise ConfigError(
                f"from {self.min} to {self.max} workers: the fewest must be at least 1 and not "
                "above the most"
            )
        if not 0 < self.floor <= 1:
            raise ConfigError(
                f"an efficiency floor of {self.floor}: it must be above 0 and at most 1, the share "
                "of one worker's goodput that each further worker must add"
            )
        for name, factor in (("switch gain", self.switch_gain), ("reach", self.reach)):
            if not factor >= 1:
                raise ConfigError(f"a {name} of {factor}: it must be at least 1")

    def within_reach(self, most_seen: int) -> "WorkerLimits":
        """Return them with the most that may be tried, after so many workers were measured."""
        most = max(self.min, min(self.max, math.floor(min(most_seen * self.reach, self.max))))
        return replace(self, max=most)


@dataclass(frozen=True, eq=False)
class Staffing:
    """A number of workers, and why.

    Args:
        workers: How many from now on.
        pays: How many pay, whatever there are now.
        most: The most that could be chosen: allowed, and within reach of what was measured.
        likely: Between which numbers what pays lies, with the model's confidence, among those that
            could be chosen.
        rows: What the numbers of workers that were compared achieve, ascending.
        shares: What each worker that a row has more than the one before adds on average, as a share
            of what one worker alone achieves; in the first row, what each of its workers achieves.
        reason: In plain words, with numbers.
    """

    workers: int
    pays: int
    most: int
    likely: tuple[int, int]
    rows: tuple[Goodput, ...]
    shares: tuple[float, ...]
    reason: str


def workers_that_pay(
    model: ThroughputModel,
    noise: NoiseScale | None,
    work: Work,
    limits: WorkerLimits,
    current: int | None = None,
) -> Staffing:
    """Choose a number of workers.

    Args:
        model: How long updates take.
        noise: The gradient noise scale; None if it was not measured. It matters only where there
            is more than one batch to choose from.
        work: What is to be trained.
        limits: Between what, and what a worker has to bring.
        current: How many there are now, at least 1: kept unless another number is clearly better;
            None: none.

    Returns:
        The number with what led to it.

    Raises:
        ConfigError: A batch cannot be cut.
    """
    reachable = limits.within_reach(model.seen.workers[1])
    alone, *rows = goodputs(model, noise, work, [1, *candidates(work, reachable)])
    single = _middle(alone)
    best = max(rows, key=lambda row: _worth(row, single, limits.floor))
    workers, reason = best.workers, _reason(best, single, limits, reachable)
    if current is not None and limits.min <= current <= limits.max and current != workers:
        (now,) = goodputs(model, noise, work, [current])
        brings = _worth(best, single, limits.floor) - _worth(now, single, limits.floor)
        if brings < (limits.switch_gain - 1) * _middle(now):
            workers = current
            reason += f"; {current} stay: the change is worth {brings / _middle(now):.1%}, below "
            reason += f"{limits.switch_gain - 1:.1%}"
    likely = _likely(alone, rows, best.workers, limits.floor, model.confidence)
    shares = _shares(rows, single)
    return Staffing(workers, best.workers, reachable.max, likely, tuple(rows), shares, reason)


def candidates(work: Work, limits: WorkerLimits) -> list[int]:
    """Return the numbers of workers worth comparing, ascending.

    The largest share of G groups over K workers is ceil(G / K) groups. Of the numbers that give the
    same share only the smallest can pay: about 2 sqrt(G) numbers, however many are allowed.
    """
    numbers = {limits.min}
    for batch in work.batches:
        groups = -(-batch // (work.bn_group or 1))
        root = math.isqrt(groups) + 1
        numbers.update(range(1, root + 1), (-(-groups // share) for share in range(1, root + 1)))
    return sorted(num for num in numbers if limits.min <= num <= limits.max)


def _middle(row: Goodput) -> float:
    """Return the goodput that half of the draws exceed: what decides."""
    return float(np.median(row.draws))


def _worth(row: Goodput, single: float, floor: float) -> float:
    return _middle(row) - floor * single * row.workers


def _likely(
    alone: Goodput, rows: Sequence[Goodput], pays: int, floor: float, confidence: float
) -> tuple[int, int]:
    """Return the interval of what pays: each draw of the model makes its own choice."""
    numbers = np.array([row.workers for row in rows])
    draws = np.stack([row.draws for row in rows], axis=1)
    chosen = numbers[np.argmax(draws - floor * alone.draws[:, None] * numbers, axis=1)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(chosen, (tail, 1 - tail), method="nearest")
    return min(int(low), pays), max(int(high), pays)


def _shares(rows: Sequence[Goodput], single: float) -> tuple[float, ...]:
    workers = np.array([0, *(row.workers for row in rows)])
    achieved = np.array([0.0, *map(_middle, rows)])
    return tuple(float(share) for share in np.diff(achieved) / np.diff(workers) / single)


def _reason(best: Goodput, single: float, limits: WorkerLimits, reachable: WorkerLimits) -> str:
    num, batch = best.workers, best.plan.global_batch
    times = f"{num} workers do {_middle(best) / single:.2f} times the work of one"
    does = f"{'one worker' if num == 1 else times} at a batch of {batch}; "
    if num == limits.max:
        return does + f"{limits.max} are the most allowed"
    if num == reachable.max:
        return does + f"more than {limits.reach:g} times the workers measured are not tried at once"
    fewest = f"; {limits.min} are the fewest allowed" if num == limits.min > 1 else ""
    return does + f"each further one would add less than {limits.floor:.2f} of one's work{fewest}"
