"""Time against money: which numbers of workers are the cheapest for their time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from absa.policy.batch_plan import BatchPlan
from absa.policy.goodput import Work
from absa.policy.interval import Interval
from absa.policy.throughput import ThroughputModel
from absa.policy.workers_that_pay import Staffing, WorkerLimits, candidates, workers_that_pay
from absa.signals import NoiseScale
from cluster.planning.measured import Stage

MOST_ROWS = 10
"""Numbers of workers that are shown: two screens of choices are none."""


@dataclass(frozen=True)
class Row:
    """One number of workers.

    Args:
        workers: How many.
        time_s: Seconds of all updates.
        worker_hours: What is paid for.
        plan: How an update of the last batch is cut.
        measured: It lies within the numbers that were measured.
    """

    workers: int
    time_s: Interval
    worker_hours: Interval
    plan: BatchPlan
    measured: bool


@dataclass(frozen=True, eq=False)
class Frontier:
    """The choices.

    Args:
        rows: None of them is both slower and dearer than another; the slowest first.
        staffing: Which number pays at the last batch.
    """

    rows: tuple[Row, ...]
    staffing: Staffing


def make_frontier(
    model: ThroughputModel,
    stages: Sequence[Stage],
    noise: NoiseScale | None,
    work: Work,
    limits: WorkerLimits,
) -> Frontier:
    """Find the choices.

    Args:
        model: How long updates take.
        stages: What is to be trained, at least one.
        noise: The gradient noise scale at the end, or None.
        work: Its last batch.
        limits: Which numbers to look at.

    Raises:
        ConfigError: A batch cannot be cut.
    """
    staffing = workers_that_pay(model, noise, work, limits)
    batches = tuple({stage.global_batch: None for stage in stages})
    numbers = {*candidates(replace(work, batches=batches), limits), staffing.pays}
    rows = undominated([_row(model, stages, work, num) for num in sorted(numbers)])
    return Frontier(tuple(_thinned(rows, staffing.pays)), staffing)


def undominated(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that no other one beats in time and in money, the slowest first."""
    kept: list[Row] = []
    for row in sorted(rows, key=lambda row: (row.worker_hours.value, row.time_s.value)):
        if not kept or row.time_s.value < kept[-1].time_s.value:
            kept.append(row)
    return kept


def _row(model: ThroughputModel, stages: Sequence[Stage], work: Work, workers: int) -> Row:
    plans = [work.plan(stage.global_batch, workers) for stage in stages]
    loads = [plan.load(work.workers_per_node) for plan in plans]
    seconds = model.intervals(loads, model.draws(loads))
    # The ends add up as if all stages erred to the same side, which they nearly do.
    parts = [one.scaled(stage.num_updates) for one, stage in zip(seconds, stages, strict=True)]
    time_s = Interval(
        sum(part.lower for part in parts),
        sum(part.value for part in parts),
        sum(part.upper for part in parts),
    )
    low, high = model.seen.workers
    return Row(
        workers, time_s, time_s.scaled(workers / 3600), plans[-1], measured=low <= workers <= high
    )


def _thinned(rows: Sequence[Row], pays: int) -> list[Row]:
    """Return at most `MOST_ROWS`, evenly spaced in the logarithm, the one that pays among them."""
    if len(rows) <= MOST_ROWS:
        return list(rows)
    first, last = math.log(rows[0].workers), math.log(rows[-1].workers)
    spots = [first + (last - first) * i / (MOST_ROWS - 2) for i in range(MOST_ROWS - 1)]
    kept = {
        min(range(len(rows)), key=lambda i: abs(math.log(rows[i].workers) - spot)) for spot in spots
    } | {i for i, row in enumerate(rows) if row.workers == pays}
    return [rows[i] for i in sorted(kept)]
