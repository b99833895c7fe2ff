"""What readings say of bias, spread and coverage: rows that are judged, and the table below."""

import math
import statistics
from collections.abc import Callable, Sequence

from benchmarks.measure import Row, Table, quartiles
from benchmarks.noise_scale.accuracy import NUM_SEEDS, Case, Reading, noise_scale

OURS = "ours"
MAX_BIAS = 0.01
"""The issue's aim for the mean error."""


def rows(case: Case, ours: Sequence[Reading], peers: Sequence[Reading]) -> list[Row]:
    """Return our mean beside the exact value, and our error beside the peer's."""
    found = [bias_row(case, ours)]
    if peers:
        found.append(error_row(case, ours, peers))
    return found


def bias_row(case: Case, ours: Sequence[Reading]) -> Row:
    """Return the mean over all readings; quartiles are of the seeds' means."""
    # Weights that move are read once a run: too seldom to tell one per cent from chance.
    judged = case.updates.lr == 0
    ratio = mean_ratio(ours)
    low, _, high = quartiles(by_seed(ours, mean_ratio))
    exact = statistics.fmean(noise_scale(r.exact) for r in ours)
    return Row(
        case=case.name,
        metric="mean B_simple",
        ours=ratio * exact,
        peer=exact,
        peer_name="exact value",
        ratio=ratio,
        spread=(low, high),
        aim=f"{1 - MAX_BIAS:g} - {1 + MAX_BIAS:g}" if judged else None,
        met=abs(ratio - 1) <= MAX_BIAS if judged else None,
    )


def error_row(case: Case, ours: Sequence[Reading], peers: Sequence[Reading]) -> Row:
    """Return the root mean square errors; quartiles are of the seeds' ratios."""
    mine, theirs = (100 * root_mean_square(each) for each in (ours, peers))
    pairs = zip(by_seed(ours, root_mean_square), by_seed(peers, root_mean_square), strict=True)
    low, _, high = quartiles([a / b for a, b in pairs])
    return Row(
        case=case.name,
        metric="rms error, %",
        ours=mine,
        peer=theirs,
        peer_name=case.peer or "",
        ratio=mine / theirs,
        spread=(low, high),
        aim=None,
        met=None,
    )


def table(read: Sequence[tuple[Case, Sequence[Reading], Sequence[Reading]]]) -> Table:
    """Return bias with its standard error, spread and coverage of ours and of the peers."""
    lines = []
    for case, ours, peers in read:
        for name, readings in ((OURS, ours), (case.peer or "", peers)):
            if readings:
                lines.append((case.name, name, *cells(readings)))
    columns = (
        "case",
        "estimator",
        "readings",
        "error of B, %",
        "its s.e.",
        "of the trace, %",
        "of the squared gradient, %",
        "spread of a reading, %",
        "in the 90 % interval, %",
    )
    title = f"Mean error over {NUM_SEEDS} seeds, and how far single readings are spread"
    return Table(title, columns, tuple(lines))


def cells(readings: Sequence[Reading]) -> tuple[float | None, ...]:
    """Return the numbers of a line of the table."""
    means = by_seed(readings, mean_ratio)
    covers = [r.covers for r in readings if r.covers is not None]
    return (
        len(readings),
        100 * (mean_ratio(readings) - 1),
        100 * statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None,
        100 * (statistics.fmean(r.read.trace / r.exact.trace for r in readings) - 1),
        100 * (statistics.fmean(r.read.gradient_sq / r.exact.gradient_sq for r in readings) - 1),
        100 * statistics.stdev(r.ratio for r in readings) if len(readings) > 1 else None,
        100 * statistics.fmean(covers) if covers else None,
    )


def root_mean_square(readings: Sequence[Reading]) -> float:
    """Return the root of the mean squared relative error."""
    return math.sqrt(statistics.fmean((r.ratio - 1) ** 2 for r in readings))


def mean_ratio(readings: Sequence[Reading]) -> float:
    """Return the mean of the noise scale over the exact one."""
    return statistics.fmean(r.ratio for r in readings)


def by_seed(
    readings: Sequence[Reading], summary: Callable[[Sequence[Reading]], float]
) -> list[float]:
    """Return a summary of each seed's readings."""
    seeds = dict.fromkeys(r.seed for r in readings)
    return [summary([r for r in readings if r.seed == seed]) for seed in seeds]
