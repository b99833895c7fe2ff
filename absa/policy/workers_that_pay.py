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
from dataclasses import dataclass

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

    Raises:
        ConfigError: They contradict each other.
    """

    min: int
    max: int
    floor: float = 0.5
    switch_gain: float = 1.05

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
        if not self.switch_gain >= 1:
            raise ConfigError(f"a switch gain of {self.switch_gain}: it must be at least 1")


@dataclass(frozen=True, eq=False)
class Staffing:
    """A number of workers, and why.

    Args:
        workers: How many from now on.
        pays: How many pay, whatever there are now.
        likely: Between which numbers what pays lies, with the model's confidence.
        rows: What the numbers of workers that were compared achieve, ascending.
        shares: What each worker that a row has more than the one before adds on average, as a share
            of what one worker alone achieves; in the first row, what each of its workers achieves.
        reason: In plain words, with numbers.
    """

    workers: int
    pays: int
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
    numbers = candidates(work, limits)
    alone, *rows = goodputs(model, noise, work, [1, *numbers])
    # What pays is decided by the middle of the draws; how sure that is, by each of them.
    single = float(np.median(alone.draws))
    net = [float(np.median(row.draws)) - limits.floor * single * row.workers for row in rows]
    pays = rows[int(np.argmax(net))]
    workers, kept = pays.workers, ""
    if current is not None and limits.min <= current <= limits.max and current != pays.workers:
        now = goodputs(model, noise, work, [current])[0]
        found = float(np.median(now.draws))
        better = max(net) - (found - limits.floor * single * current)
        if better < (limits.switch_gain - 1) * found:
            workers = current
            kept = (
                f"; {current} stay, because the change is worth {better / found:.1%} of their "
                f"goodput, below {limits.switch_gain - 1:.1%}"
            )
    return Staffing(
        workers,
        pays.workers,
        _likely(model, alone, rows, pays.workers, limits.floor),
        tuple(rows),
        _shares(rows, single),
        _reason(pays, single, limits) + kept,
    )


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


def _likely(
    model: ThroughputModel, alone: Goodput, rows: Sequence[Goodput], pays: int, floor: float
) -> tuple[int, int]:
    """Return the interval of what pays: each draw of the model makes its own choice."""
    numbers = np.array([row.workers for row in rows])
    draws = np.stack([row.draws for row in rows], axis=1)
    chosen = numbers[np.argmax(draws - floor * alone.draws[:, None] * numbers, axis=1)]
    tail = (1 - model.confidence) / 2
    low, high = np.quantile(chosen, (tail, 1 - tail), method="nearest")
    return min(int(low), pays), max(int(high), pays)


def _shares(rows: Sequence[Goodput], single: float) -> tuple[float, ...]:
    workers = np.array([0, *(row.workers for row in rows)])
    achieved = np.array([0.0, *(float(np.median(row.draws)) for row in rows)])
    return tuple(float(share) for share in np.diff(achieved) / np.diff(workers) / single)


def _reason(pays: Goodput, single: float, limits: WorkerLimits) -> str:
    times = float(np.median(pays.draws)) / single
    words = f"{pays.workers} workers do {times:.2f} times the work of one at a batch of "
    words += f"{pays.plan.global_batch}; more would add less than {limits.floor:.2f} of it each"
    if pays.workers == limits.max:
        words = words.partition(";")[0] + f"; more than {limits.max} are not allowed"
    elif pays.workers == limits.min:
        words += f", fewer than {limits.min} are not allowed"
    return words
