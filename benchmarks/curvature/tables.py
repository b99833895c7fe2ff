"""What the rows leave out: the frontier as it is, the decisions in numbers, the samples."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.curvature.decisions import Agreement
from benchmarks.curvature.frontier import Spot
from benchmarks.curvature.sampling import SamplingErrors

_SHOWN = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 30, 40, 60, 80, 100)
"""Lengths of cold starts that are printed."""


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def frontier_table(spots: Iterable[Spot]) -> str:
    """Return error against price; cold starts at some of their lengths."""
    head = ["method", "products", "gradients", "median error, %", "largest error, %"]
    return markdown(
        head,
        (
            [
                spot.method,
                f"{spot.products:g}",
                f"{spot.gradients:.3g}",
                f"{100 * spot.error:.3g}",
                f"{100 * spot.largest:.3g}",
            ]
            for spot in spots
            if spot.method.startswith("ours") or spot.products in _SHOWN
        ),
    )


def decision_table(found: Mapping[str, Agreement], epochs_per_point: float | None) -> str:
    """Return the decisions of each method; delays in epochs, or in points where there are none."""
    unit = "points" if epochs_per_point is None else "epochs"
    head = [
        "method",
        "points",
        "agree",
        "falls found",
        "false growth, points",
        f"mean delay, {unit}",
    ]
    return markdown(
        head,
        (
            [
                name,
                f"{each.points}",
                f"{each.agree}",
                f"{each.found} of {each.true_falls}",
                f"{each.early}",
                f"{each.delay / each.found * (epochs_per_point or 1.0):.3g}" if each.found else "",
            ]
            for name, each in found.items()
        ),
    )


def sampling_table(found: SamplingErrors) -> str:
    """Return bias and spread of each number of samples, and what they cost."""
    head = ["N", "choices x points", "mean error, %", "largest, %", "of a change, %", "gradient, s"]
    lines = []
    for sampled in (*found.few, found.many):
        values, changes = found.of_value(sampled), found.of_change(sampled)
        largest = max(map(abs, values))
        change = 100 * statistics.median(map(abs, changes)) if changes else float("nan")
        lines.append(
            [
                f"{sampled.size}",
                f"{len(values)}",
                f"{100 * statistics.mean(values):+.1f}",
                f"{100 * largest:.1f}",
                f"{change:.1f}",
                f"{sampled.gradient_s:.3g}",
            ]
        )
    return markdown(head, lines)
