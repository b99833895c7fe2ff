"""What it costs in exactness to look at the units of fewer updates, at three batches."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from absa.noise_scale.average import NoiseAverage, NoiseWindow
from absa.noise_scale.config import DEFAULT_WINDOW_UPDATES
from absa.noise_scale.sample import NormSample
from absa.order import SampleOrder
from benchmarks.measure import Table
from benchmarks.noise_scale.accuracy import NUM_TRAIN, READ_UPDATES, noise_scale
from benchmarks.noise_scale.engine import CONFIDENCE
from benchmarks.noise_scale.regression import DIMENSIONS, Exact, Update, draw, updates

BATCHES = (4, 32, 128)
"""An eighth of the noise scale of 30, the noise scale, and four times it."""
EVERY = (1, 2, 5, 10)


@dataclass(frozen=True)
class Said:
    """What one reading said.

    Args:
        gradient_sq: Over the exact |G|^2.
        resolved: Whether there is a value.
        covers: Whether the interval holds the exact noise scale.
    """

    gradient_sq: float
    resolved: bool
    covers: bool


def said(batch: int, num_updates: int, seed: int) -> dict[int, list[Said]]:
    """Return the readings of one run for each interval: all see the same updates, in halves."""
    problem = draw(seed, NUM_TRAIN)
    exact = Exact(problem)(np.zeros(DIMENSIONS))
    window = NoiseWindow(DEFAULT_WINDOW_UPDATES * batch, NUM_TRAIN)
    averages = dict.fromkeys(EVERY, NoiseAverage())
    found: dict[int, list[Said]] = {every: [] for every in EVERY}
    seen = updates(problem, SampleOrder(seed, NUM_TRAIN), (batch, batch // 2), 0.0)
    for number, update in enumerate(islice(seen, num_updates), start=1):
        for every in EVERY:
            looks = window.is_due(averages[every], every, batch)
            averages[every] = window.step(averages[every], norms(update, batch, looks=looks))
            if number % READ_UPDATES == 0:
                whole = window.scales(averages[every], CONFIDENCE).whole
                covers = whole.lower <= noise_scale(exact) <= whole.upper
                ratio = whole.gradient_sq / exact.gradient_sq
                found[every].append(Said(ratio, whole.value is not None, covers))
    return found


def norms(update: Update, batch: int, *, looks: bool) -> NormSample:
    """Return the norms of an update of equal passes."""
    gradient = (float(np.square(update.gradient).sum()),)
    if not looks:
        return NormSample(batch, float(batch), gradient)
    num_passes = len(update.passes)
    units = (batch / num_passes * float(np.square(update.passes).sum()),)
    return NormSample(batch, float(batch), gradient, units, float(num_passes))


def thinning_table(num_updates: int, seeds: Sequence[int]) -> Table:
    """Return spread, resolution and coverage for each batch and interval."""
    lines: list[tuple[str | float | None, ...]] = []
    for batch in BATCHES:
        runs = [said(batch, num_updates, seed) for seed in seeds]
        first = None
        for every in EVERY:
            read = [each for run in runs for each in run[every]]
            spread = statistics.stdev(each.gradient_sq for each in read)
            first = first or spread
            lines.append(
                (
                    batch,
                    every,
                    100 * spread,
                    (spread / first) ** 2,
                    share(each.resolved for each in read),
                    share(each.covers for each in read),
                )
            )
    columns = (
        "batch",
        "every",
        "spread of the squared gradient, %",
        "its variance / that of every 1",
        "resolved, %",
        "in the 90 % interval, %",
    )
    title = (
        f"What fewer looks cost: updates in halves at a noise scale of 30, a window of "
        f"{DEFAULT_WINDOW_UPDATES} updates, {len(read)} readings each"
    )
    return Table(title, columns, tuple(lines))


def share(flags: Iterable[bool]) -> float:
    """Return the per cent that are true; NaN of none."""
    every = list(flags)
    return 100 * sum(every) / len(every) if every else math.nan
