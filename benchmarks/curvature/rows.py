"""The rows: ours beside each peer, and the issue's bars on what is ours alone."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.curvature.decisions import ASKED, Agreement
from benchmarks.curvature.frontier import Spot, Truth, error
from benchmarks.curvature.methods import Measurement
from benchmarks.curvature.sampling import SamplingErrors
from benchmarks.measure import Aim, Row, compare

ERROR, SHARE = Aim("<=", 5.0), Aim("<=", 1.0)
"""Of issue 4, for ours alone: the largest numerical error and the median share of time, in %."""

CHEAPER = Aim("<=", 1 / 10)
"""Of issue 4: than PyHessian at equal error."""


NEVER_EARLY = Aim(">=", 100.0)
"""Of issue 4: no false growth."""

NO_FALSE_GROWTH = "points without false growth, %"


def on_ours(row: Row, aim: Aim, value: float) -> Row:
    """Return the row with a bar that is for ours alone, not for the ratio."""
    return replace(row, aim=f"ours {aim.sense} {aim.bound:g}", met=aim.is_met(value))


def method_rows(
    case: str,
    found: Mapping[str, Sequence[Measurement]],
    exact: Sequence[Truth],
    epoch_s: float,
    judged: str | None = None,
    equal: str | None = None,
) -> list[Row]:
    """Return error, products, price and share of time of ours beside each other method.

    The first point is left out: nothing can be followed there yet.

    Args:
        case: What was measured.
        found: By method, one measurement per point; "ours" among them.
        exact: The converged values.
        epoch_s: Seconds of an epoch of training.
        judged: The peer whose rows carry the bars for ours alone.
        equal: The peer that was set to our error: on its price is a bar.
    """
    rows: list[Row] = []
    ours, errors = found["ours"][1:], _errors(found["ours"], exact)
    products, gradients, shares = (
        _products(ours),
        [m.gradients for m in ours],
        _shares(ours, epoch_s),
    )
    for name, measurements in found.items():
        if name == "ours":
            continue
        peer = measurements[1:]
        row = compare(case, "numerical error, %", errors, _errors(measurements, exact), name)
        rows.append(on_ours(row, ERROR, max(errors)) if name == judged else row)
        rows.append(compare(case, "products", products, _products(peer), name))
        prices = [m.gradients for m in peer]
        bar = CHEAPER if name == equal else None
        rows.append(compare(case, "gradients", gradients, prices, name, bar))
        row = compare(case, "share of an epoch, %", shares, _shares(peer, epoch_s), name)
        rows.append(on_ours(row, SHARE, row.ours) if name == judged else row)
    return rows


def _products(found: Sequence[Measurement]) -> list[float]:
    return [float(each.answer.estimate.num_products) for each in found]


def _shares(found: Sequence[Measurement], epoch_s: float) -> list[float]:
    return [100 * each.seconds / epoch_s for each in found]


def _errors(found: Sequence[Measurement], exact: Sequence[Truth]) -> list[float]:
    pairs = zip(found[1:], exact[1:], strict=True)
    return [100 * error(each.answer.estimate.value, truth.value) for each, truth in pairs]


def decision_rows(case: str, found: Mapping[str, Agreement]) -> list[Row]:
    """Return how often ours decides as the truth does, and never too early, beside each other.

    Ours is the tracker that is asked; "ours" beside it, whose values are compared, is a peer here.

    Args:
        case: What was decided about.
        found: By method; `ASKED` among them.
    """
    rows = []
    ours = found[ASKED]
    for name, peer in found.items():
        if name != ASKED:
            name = "ours, by its values" if name == "ours" else name
            agree = compare(case, "decisions that agree, %", _agree(ours), _agree(peer), name)
            early = compare(case, NO_FALSE_GROWTH, _not_early(ours), _not_early(peer), name)
            rows += [agree, on_ours(early, NEVER_EARLY, early.ours)]
    return rows


def _agree(found: Agreement) -> list[float]:
    return [100 * found.agree / found.points]


def _not_early(found: Agreement) -> list[float]:
    return [100 - 100 * found.early / found.points]


def sampling_rows(case: str, found: SamplingErrors, default: int) -> list[Row]:
    """Return the error of the default number of samples beside that of each other number."""
    by_size = {each.size: each for each in found.few}
    rows = []
    for size, sampled in by_size.items():
        for metric, errors in (
            ("sampling error, %", found.of_value),
            ("sampling error of a change, %", found.of_change),
        ):
            mine, theirs = (_percent(errors(each)) for each in (by_size[default], sampled))
            if size != default and mine:
                row = compare(
                    f"{case}, against {found.many.size} samples",
                    metric,
                    [statistics.median(mine)],
                    [statistics.median(theirs)],
                    f"N = {size}",
                )
                rows.append(row)
    return rows


def _percent(errors: Sequence[float]) -> list[float]:
    return [max(100 * abs(each), 0.01) for each in errors]


def frontier_rows(case: str, ours: Sequence[Spot], cold: Mapping[str, Sequence[Spot]]) -> list[Row]:
    """Return ours at each budget beside cold starts of the same price.

    Args:
        case: What was measured.
        ours: By budget.
        cold: By method, in the order of their lengths.
    """
    rows = []
    for spot in ours:
        for name, spots in cold.items():
            affordable = [each for each in spots if each.gradients <= spot.gradients] or spots[:1]
            rows.append(
                compare(
                    f"{case}, {spot.method}: {spot.gradients:.3g} gradients",
                    "numerical error, %",
                    [100 * spot.error],
                    [100 * affordable[-1].error],
                    f"{name} at that price",
                )
            )
    return rows
