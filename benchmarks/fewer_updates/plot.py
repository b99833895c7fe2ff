"""Draws how batch, eigenvalue and noise scale went, with which rule fired when, as one SVG."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.fewer_updates.outcome import Outcome
from benchmarks.fewer_updates.size import FIRST_BATCH, NUM_TRAIN, Size

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 240, 60, 60, 34, 34
_BATCH, _NOISE, _EIGENVALUE, _GREY = "#1b5e9c", "#7fb069", "#c8502a", "#777"
_LEGEND = (
    (440, _BATCH, "batch"),
    (490, _NOISE, "noise scale, or at least"),
    (640, _EIGENVALUE, "largest eigenvalue (right)"),
)
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A logarithmic scale on one side of a panel.

    Args:
        low: Value at the bottom, > 0.
        high: Value at the top.
    """

    low: float
    high: float

    def y(self, value: float) -> float:
        """Return the height of a value in pixels from the panel's top; outside, the nearest end."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(share, 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Return the powers of two in it."""
        first = math.ceil(math.log2(self.low) - 1e-9)
        return [2.0**power for power in range(first, math.floor(math.log2(self.high) + 1e-9) + 1)]


def draw(runs: Mapping[str, Outcome], size: Size) -> str:
    """Return a panel for each run, one below the other.

    Args:
        runs: By title.
        size: Of the benchmark.
    """
    panels = [
        f'<g transform="translate(0 {number * HEIGHT})">{panel(title, run, size)}</g>'
        for number, (title, run) in enumerate(runs.items())
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * len(panels)}" '
        f'font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n'
    )


def panel(title: str, run: Outcome, size: Size) -> str:
    """Return one run: batch and noise scale on the left axis, the eigenvalue on the right."""
    batches = Axis(FIRST_BATCH / 4, size.max_batch * 2)
    known = [m for m in run.eigenvalues if m.value is not None and m.value > 0]
    values = [m.value for m in known if m.value is not None]
    eigen = Axis(min(values) / 1.2, max(values) * 1.2) if values else Axis(1, 10)
    marks = [min(values), math.sqrt(min(values) * max(values)), max(values)] if values else []

    def x(samples: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * samples / (size.epochs * NUM_TRAIN)

    points = [(x(m.samples), eigen.y(value)) for m, value in zip(known, values, strict=True)]
    noise = [
        (x(n.samples), batches.y(bound))
        for n in run.noise
        if (bound := n.lower if n.value is None else n.value)
    ]
    return "".join(
        [
            _frame(title, run, size, x),
            *(_label(LEFT - 6, batches.y(t), f"{t:g}", "end") for t in batches.ticks()),
            *(_label(WIDTH - RIGHT + 6, eigen.y(t), f"{t:.3g}", "start") for t in marks),
            _line(noise, _NOISE, 'stroke-dasharray="4 3"'),
            _line(points, _EIGENVALUE, 'stroke-opacity="0.5"'),
            *(
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{_EIGENVALUE}"/>'
                for a, b in points
            ),
            _line(_steps(run, x, batches), _BATCH, 'stroke-width="2"'),
            *(_mark(x(g.samples), batches.y(g.batch), g.rule) for g in run.growths),
        ]
    )


def _steps(run: Outcome, x: Callable[[float], float], axis: Axis) -> list[Point]:
    ends = [*(after.samples for after in run.stretches[1:]), run.samples]
    corners: list[Point] = []
    for stretch, end in zip(run.stretches, ends, strict=True):
        height = axis.y(stretch.batch)
        corners += [(x(stretch.samples), height), (x(end), height)]
    return corners


def _frame(title: str, run: Outcome, size: Size, x: Callable[[float], float]) -> str:
    said = f"{title}: {run.updates} updates, accuracy {100 * run.accuracy:.2f} %"
    epochs = range(0, math.floor(size.epochs) + 1, max(round(size.epochs / 9), 1))
    return "".join(
        [
            f'<text x="{LEFT}" y="14" font-weight="bold">{escape(said)}</text>',
            *(
                f'<text x="{left}" y="14" fill="{colour}">{text}</text>'
                for left, colour, text in _LEGEND
            ),
            f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
            f'height="{HEIGHT - TOP - BOTTOM}" fill="none" stroke="{_GREY}"/>',
            *(_label(x(e * NUM_TRAIN), HEIGHT - BOTTOM + 14, str(e), "middle") for e in epochs),
            _label(WIDTH / 2, HEIGHT - 6, "epochs", "middle"),
        ]
    )


def _mark(x: float, y: float, rule: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{_BATCH}"/>'
        f'<text x="{x - 4:.1f}" y="{y - 5:.1f}" text-anchor="end">{escape(rule)}</text>'
    )


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}" fill="{_GREY}">{text}</text>'


def _line(points: Sequence[Point], colour: str, more: str) -> str:
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" {more}/>'
