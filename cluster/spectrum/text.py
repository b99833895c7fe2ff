"""The spectrum for a terminal of 80 columns: numbers and a small drawing."""

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from cluster.spectrum.findings import (
    findings,
    largest,
    matrix_name,
    number,
    outliers,
)
from cluster.spectrum.measure import Spectrum
from cluster.spectrum.page import bulk, where
from cluster.spectrum.restored import Restored
from cluster.views import number_format as show

_ROWS, _WIDEST, _LABEL = 6, 79, 18
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_PLAIN = "     ####"


class SpectrumText:
    """Draws a spectrum for the width at hand.

    Args:
        restored: The checkpoint.
        spectrum: What was measured of it.
    """

    def __init__(self, restored: Restored, spectrum: Spectrum) -> None:
        self._restored, self._spectrum = restored, spectrum

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the lines."""
        # A line that fills the last column makes some terminals wrap: stay one short of it.
        width = max(12, min(options.max_width - 1, _WIDEST))
        plain = options.ascii_only
        lines = [*self._heading(), *self._numbers(), Text(), *self._drawing(width, plain=plain)]
        for line in lines:
            if plain:
                line.plain = line.plain.replace("±", "+-")
            line.truncate(width, overflow="crop")
            line.rstrip()
        yield from lines

    def _heading(self) -> list[Text]:
        restored, spectrum = self._restored, self._spectrum
        matrix = matrix_name(restored.job.curvature.operator)
        return [
            Text(f"{restored.run.name}, {where(restored)}", "bold"),
            Text(
                f"{matrix} of {show.count(spectrum.num_samples)} samples: "
                f"{show.count(spectrum.num_products)} products, {show.duration(spectrum.seconds)}"
            ),
        ]

    def _numbers(self) -> list[Text]:
        rows = [(found.label, found.value, found.remark) for found in findings(self._spectrum)]
        rest = [number(each.value) for each in largest(self._spectrum)[1:6]]
        if rest:
            rows.insert(1, ("next ones", rest[0], ", ".join(["", *rest[1:]]).lstrip()))
        return [
            Text.assemble(
                (f"  {label:<{_LABEL}}", "dim"),
                (f"{value:>8}", "bold"),
                remark if remark.startswith(",") else f"  {remark}",
            )
            for label, value, remark in rows
        ]

    def _drawing(self, width: int, *, plain: bool) -> list[Text]:
        """Return the density of the bulk on a logarithmic axis, with the eigenvalues in it."""
        view = bulk(self._spectrum)
        grid, height = view.grid, view.height
        num = width - 4
        columns = np.minimum(((grid - grid[0]) / (grid[-1] - grid[0]) * num).astype(int), num - 1)
        tops = np.full(num, -np.inf)
        np.maximum.at(tops, columns, np.log10(height))
        tops = _filled(tops)
        lowest, highest = tops.min(), tops.max()
        levels = np.ceil((tops - lowest) / max(highest - lowest, 1e-9) * 8 * _ROWS).astype(int)
        signs = _PLAIN if plain else _EIGHTHS
        rows = [
            Text("  " + "".join(signs[min(8, max(0, level - 8 * row))] for level in levels), "cyan")
            for row in range(_ROWS - 1, -1, -1)
        ]
        span = (float(grid[0]), float(grid[-1]))
        return [*rows, _axis(span, num), *self._note()]

    def _note(self) -> list[Text]:
        """Say what does not fit into the drawing."""
        num = outliers(self._spectrum)
        beyond = f", without the {num} larger eigenvalues" if num else ""
        words = f"density on a logarithmic axis{beyond}"
        return [Text(f"  {words}", "dim")]


def _filled(tops: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give columns that no point of the curve falls into the value of the one before."""
    known = np.where(np.isfinite(tops), np.arange(len(tops)), 0)
    return np.asarray(tops[np.maximum.accumulate(known)])


def _column(value: float, span: tuple[float, float], num: int) -> int:
    low, high = span
    return min(num - 1, max(0, int((value - low) / (high - low) * num)))


def _axis(span: tuple[float, float], num: int) -> Text:
    """Return the ends of the axis, and where zero is if there is room."""
    left, right = number(span[0], 2), number(span[1], 2)
    line = list(left + " " * (num - len(left) - len(right)) + right)
    zero = _column(0.0, span, num)
    if span[0] < 0 < span[1] and len(left) < zero < num - len(right) - 1:
        line[zero] = "0"
    return Text("  " + "".join(line), "dim")
