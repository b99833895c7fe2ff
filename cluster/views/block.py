"""The block that moves on a terminal: a bar and the numbers of now, for any width."""

import math
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.segment import ControlType
from rich.spinner import Spinner
from rich.text import Text

from cluster.views import number_format as show
from cluster.views.progress import Progress

_CELL = 16
"""Fewest columns of a cell: a label beside a number; four cells fit in 80 columns, two in 40."""
_GAP = 2
_WIDEST = 100


class Block:
    """Draws the progress that was set last; its lines never reach beyond the terminal's width."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.drawn_widths: tuple[int, ...] = ()
        """Columns of each line as it was drawn last."""
        self._spinner = Spinner("dots", style="cyan")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the lines for the width at hand."""
        # A line that fills the last column makes some terminals wrap: stay one short of it.
        width = max(1, min(options.max_width - 1, _WIDEST))
        plain = options.ascii_only
        lines = [self._head(console, width, plain=plain)]
        if self.progress.update is not None:
            lines += _grid(_cells(self.progress), width)
        for line in lines:
            line.truncate(width, overflow="crop" if plain else "ellipsis")
        self.drawn_widths = tuple(line.cell_len for line in lines)
        yield from lines

    def _head(self, console: Console, width: int, *, plain: bool) -> Text:
        p = self.progress
        turning = Text("*") if plain else self._spinner.render(console.get_time())
        spinner = turning if isinstance(turning, Text) else Text("*")
        spinner.append(" ", style="default")
        if p.phase is not None or p.update is None:
            return spinner.append(p.phase or "starting", style="default")
        if p.fraction is None:
            return spinner.append(f"training, {show.clock(p.elapsed_s)} so far", style="default")
        left = "" if p.time_left_s is None else f"  {show.clock(p.time_left_s)} left"
        tail = f" {show.percent(p.fraction, 0):>5}{left}"
        bar = _bar(p.fraction, max(0, width - 2 - len(tail)), plain=plain)
        return Text.assemble(spinner, bar, (tail, "bold"))


def _bar(fraction: float, width: int, *, plain: bool) -> Text:
    full, rest = ("#", ".") if plain else ("━", "─")
    done = min(width, math.floor(fraction * width + 1e-9))
    return Text.assemble((full * done, "cyan"), (rest * (width - done), "dim"))


def _cells(p: Progress) -> list[tuple[str, str]]:
    name = p.metric or "accuracy"
    of_all = "" if p.total_epochs is None else f"/{show.total_epochs(p.total_epochs)}"
    return [
        ("epoch", show.epoch(p.epoch) + of_all),
        ("loss", show.loss(p.loss)),
        (name, show.metric(name, p.last)),
        ("best", show.metric(name, p.best)),
        ("samples/s", show.si(p.samples_per_s)),
        ("batch", show.count(p.global_batch)),
        ("noise scale", show.noise_scale(p.noise, p.noise_at_least)),
        ("curvature", show.significant(p.curvature, 3)),
        ("lr", show.learning_rate(p.learning_rate)),
        ("workers", show.count(p.workers)),
        ("update", show.count(p.update)),
        ("elapsed", show.clock(p.elapsed_s)),
        ("generation", show.count(p.generation)),
    ]


def _grid(cells: list[tuple[str, str]], width: int) -> Iterable[Text]:
    columns = max(1, min(4, (width + _GAP) // (_CELL + _GAP)))
    cell_width = min(24, (width + _GAP) // columns - _GAP)
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        yield Text(" " * _GAP).join(_cell(label, value, cell_width) for label, value in row)


def _cell(label: str, value: str, width: int) -> Text:
    name = Text(label)
    name.truncate(max(0, width - len(value) - 1))
    space = max(1, width - name.cell_len - len(value))
    return Text.assemble((name.plain, "dim"), " " * space, (value, "bold"))


def rows_to_climb(drawn_widths: Iterable[int], width: int) -> int:
    """Return how many rows more than lines a block takes since the terminal became narrower.

    Args:
        drawn_widths: Columns of each line when it was drawn.
        width: Columns of the terminal now, at least 1; it has wrapped what is wider.
    """
    return sum(max(0, math.ceil(drawn / max(1, width)) - 1) for drawn in drawn_widths)


def climb(rows: int) -> Control:
    """Return what moves the cursor up over so many rows and erases each of them."""
    up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
    return Control((ControlType.ERASE_IN_LINE, 2), *(up * rows))
