"""A replay for a terminal of 80 columns: both policies side by side."""

import textwrap
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from cluster.explaining.text import wrapped
from cluster.replaying.compare import Comparison
from cluster.replaying.findings import Row, changes, told, totals

_WIDEST, _NARROWEST, _LABEL = 79, 40, 14


class ComparisonText:
    """Draws a replay for the width at hand.

    Args:
        run: The run and its replay.
    """

    def __init__(self, run: Comparison) -> None:
        self._run = run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the lines."""
        # A line that fills the last column makes some terminals wrap: stay one short of it.
        width = max(12, min(options.max_width - 1, _WIDEST))
        for line in self._lines(max(_NARROWEST, width)):
            line.truncate(width, overflow="crop")
            line.rstrip()
            yield line

    def _lines(self, width: int) -> Iterable[Text]:
        run = self._run
        kind = run.other.policy.kind
        other = f"{kind} (its own policy)" if run.own else kind
        yield Text(run.name, "bold")
        yield Text()
        head = Row("", f"recorded: {run.recorded or 'no policy'}", f"instead: {other}")
        yield from _beside(head, width, "dim")
        rows = changes(run)
        yield from _beside(Row("epoch", "batch", "batch"), width, "dim")
        for row in rows or [Row("", "never changed", "never changed")]:
            yield from _beside(row, width, "")
        yield Text()
        for row in totals(run):
            yield from _beside(row, width, "")
        for text in told(run):
            yield Text()
            yield from wrapped(text, width)


def _beside(row: Row, width: int, style: str) -> list[Text]:
    column = (width - _LABEL) // 2
    left, right = (textwrap.wrap(cell, column - 2) for cell in (row.recorded, row.other))
    height = max(len(left), len(right), 1)
    left, right = (cell + [""] * (height - len(cell)) for cell in (left, right))
    labels = [row.label, *[""] * (height - 1)]
    return [
        Text(f"  {label:<{_LABEL - 2}}{one:<{column}}{other}", style)
        for label, one, other in zip(labels, left, right, strict=True)
    ]
