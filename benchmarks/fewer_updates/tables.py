"""What the runs say: one line for each arm, and the comparisons that the aims are about."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping

from benchmarks.fewer_updates.arms import ADAPTIVE, ARMS, TABLE, Key
from benchmarks.fewer_updates.outcome import Outcome
from benchmarks.fewer_updates.paired import CONFIDENCE, difference, mean_and_spread
from benchmarks.fewer_updates.price import price
from benchmarks.fewer_updates.size import NUM_TRAIN, Size
from benchmarks.measure import Aim, Row, Table, compare, quartiles

Outcomes = Mapping[Key, Outcome]

POLICIES = ("abs", "absa", "noise_scale", "hybrid")
"""The arms that decide by signals."""
FEWER = Aim("<=", 0.2)
"""The issue's bar: a fifth of the updates of SGD at 128."""


def main_table(outcomes: Outcomes, size: Size) -> Table:
    """Return means over seeds, each with what the issue asks for."""
    lines = [_line(arm, outcomes) for arm in TABLE if by_seed(outcomes, arm)]
    columns = (
        "arm",
        "seeds",
        "updates",
        "samples, epochs of 50,000",
        "test accuracy, % (s.d.)",
        "difference to SGD, 128",
        "difference to clock",
        "gradients of 128",
        "of these signals, %",
        "of these attacks, %",
        "minutes",
        "diverged",
        "growths by rule",
    )
    title = (
        f"Means over seeds, {size.epochs:g} epochs, batch 128 to {size.max_batch}; differences in "
        f"points of accuracy, paired by seed, with {100 * CONFIDENCE:g} % intervals"
    )
    return Table(title, columns, tuple(lines))


def _line(arm: str, outcomes: Outcomes) -> tuple[str | float | None, ...]:
    runs = by_seed(outcomes, arm)
    prices = [price(run) for run in runs.values()]
    whole = statistics.fmean(p.whole for p in prices)
    return (
        ARMS[arm].title,
        ", ".join(map(str, sorted(runs))),
        f"{_mean(runs, lambda run: run.updates):.0f}",
        _mean(runs, lambda run: run.samples / NUM_TRAIN),
        mean_and_spread(list(accuracies(runs).values())),
        _difference(arm, "sgd", outcomes),
        _difference(arm, "clock", outcomes),
        f"{whole:.0f}",
        100 * statistics.fmean(p.signals for p in prices) / whole,
        100 * statistics.fmean(p.attacks for p in prices) / whole,
        _mean(runs, lambda run: run.seconds / 60),
        sum(run.diverged for run in runs.values()),
        _rules(runs),
    )


def _difference(arm: str, peer: str, outcomes: Outcomes) -> str | None:
    if arm == peer:
        return None
    found = difference(*(accuracies(by_seed(outcomes, each)) for each in (arm, peer)))
    return None if found is None else str(found)


def _rules(runs: Mapping[int, Outcome]) -> str | None:
    """Return how often each rule made the batch grow, in all runs together."""
    counts = Counter(growth.rule for run in runs.values() for growth in run.growths)
    return ", ".join(f"{rule} {count}" for rule, count in counts.most_common()) or None


def growth_table(outcomes: Outcomes, seed: int) -> Table:
    """Return every growth of one seed's policies: when, by which rule, what the eigenvalue was."""
    lines: list[tuple[str | float | None, ...]] = []
    for arm in POLICIES:
        run = outcomes.get(Key(arm, seed))
        for growth in run.growths if run else ():
            assert run is not None
            known = [m for m in run.eigenvalues if m.samples <= growth.samples]
            lines.append(
                (
                    ARMS[arm].title,
                    growth.samples / NUM_TRAIN,
                    growth.updates,
                    str(growth.batch),
                    growth.rule,
                    known[-1].value if known else None,
                    growth.reason,
                )
            )
    columns = ("arm", "epoch", "update", "batch", "rule", "last eigenvalue", "reason")
    return Table(f"Every growth of seed {seed}", columns, tuple(lines))


def tuning_table(outcomes: Outcomes, tuning_seed: int) -> Table:
    """Return what was tried where a learning rate is tuned."""
    lines = [
        (ARMS[key.arm].title, run.updates, 100 * run.accuracy)
        for key, run in sorted(outcomes.items())
        if key.seed == tuning_seed and key.arm.split("@")[0] in ("large", "even")
    ]
    columns = ("arm", "updates", "test accuracy, %")
    return Table(f"Learning rates that were tried, seed {tuning_seed}", columns, tuple(lines))


def rows(outcomes: Outcomes) -> list[Row]:
    """Return the comparisons, judged where the issue names a bar."""
    found: list[Row | None] = []
    for arm in POLICIES:
        found.append(_updates_row(arm, "sgd", outcomes))
        found.append(_accuracy_row(arm, "sgd", outcomes, ">="))
    for peer in ("clock", "even_tuned", "large_tuned", "sgd_short"):
        found.append(_accuracy_row(ADAPTIVE, peer, outcomes, ">"))
    found.append(_accuracy_row("abs", "abs_shuffled", outcomes, None))
    return [row for row in found if row is not None]


def _updates_row(arm: str, peer: str, outcomes: Outcomes) -> Row | None:
    runs, others = _paired(arm, peer, outcomes)
    if not runs:
        return None
    ours, theirs = ([float(run.updates) for run in each] for each in (runs, others))
    return compare(ARMS[arm].title, "updates", ours, theirs, ARMS[peer].title, FEWER)


def _accuracy_row(arm: str, peer: str, outcomes: Outcomes, sense: str | None) -> Row | None:
    """Return the accuracies; the aim is about the mean difference, not about a ratio of medians."""
    runs, others = _paired(arm, peer, outcomes)
    if not runs:
        return None
    ours, theirs = ([100 * run.accuracy for run in each] for each in (runs, others))
    low, _, high = quartiles([a / b for a, b in zip(ours, theirs, strict=True)])
    mine, other = statistics.fmean(ours), statistics.fmean(theirs)
    met = {None: None, ">=": mine >= other, ">": mine > other}[sense]
    return Row(
        case=ARMS[arm].title,
        metric="mean test accuracy, %",
        ours=mine,
        peer=other,
        peer_name=ARMS[peer].title,
        ratio=mine / other,
        spread=(low, high),
        aim=None if sense is None else f"{sense} 1",
        met=met,
    )


def _paired(arm: str, peer: str, outcomes: Outcomes) -> tuple[list[Outcome], list[Outcome]]:
    ours, theirs = by_seed(outcomes, arm), by_seed(outcomes, peer)
    seeds = sorted(ours.keys() & theirs.keys())
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def by_seed(outcomes: Outcomes, arm: str) -> dict[int, Outcome]:
    """Return an arm's runs."""
    return {key.seed: run for key, run in outcomes.items() if key.arm == arm}


def accuracies(runs: Mapping[int, Outcome]) -> dict[int, float]:
    """Return each seed's test accuracy in per cent."""
    return {seed: 100 * run.accuracy for seed, run in runs.items()}


def _mean(runs: Mapping[int, Outcome], number: Callable[[Outcome], float]) -> float:
    return statistics.fmean(number(run) for run in runs.values())
