"""A live block on a terminal, with what is worth keeping as lines above it."""

import sys
from typing import TextIO

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.live import Live
from rich.text import Text

from absa.events import Record
from cluster.views import number_format as show
from cluster.views.block import Block, climb, rows_to_climb
from cluster.views.fields import number
from cluster.views.note import Note, Tone, describe
from cluster.views.progress import advance
from cluster.views.steady_stream import SteadyStream
from cluster.views.summary import has_begun, headline, rows

_REFRESH_PER_S = 8
_STYLES: dict[Tone, str] = {
    "good": "green",
    "quiet": "dim",
    "change": "cyan",
    "warning": "yellow",
    "bad": "bold red",
    "plain": "",
}
_MARKS: dict[Tone, str] = {"good": "+", "change": "~", "warning": "!", "bad": "x"}
"""Colour is never the only sign."""


class RichView:
    """Draws on a terminal at most eight times a second, from a thread of rich's.

    Args:
        stream: The terminal.
        width: Columns; default: what the terminal has at each drawing.
    """

    def __init__(self, stream: TextIO, *, width: int | None = None) -> None:
        # rich asks of a file only what a text stream of ours has
        out: TextIO = SteadyStream(stream)  # type: ignore[assignment]
        self._console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
        self._block = Block()
        self._live = Live(
            self._block,
            console=self._console,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
            redirect_stderr=sys.stderr.isatty(),
        )
        self._live.start(refresh=True)
        self._console.push_render_hook(_ReflowHook(self._console, self._block))

    def __call__(self, record: Record) -> None:
        """Take the record into the block, and print a line if it is worth keeping."""
        self._block.progress = advance(self._block.progress, record)
        note = describe(record)
        if note is not None and _is_kept(record):
            self._console.print(self._line(record, note))

    def close(self) -> None:
        """Replace the block with the summary."""
        self._console.pop_render_hook()
        self._live.stop()
        progress = self._block.progress
        if not has_begun(progress):
            return
        self._console.print(Text(headline(progress), style="bold"), soft_wrap=True)
        for label, value in rows(progress):
            self._console.print(Text.assemble((f"  {label:<10}  ", "dim"), value), soft_wrap=True)

    def _line(self, record: Record, note: Note) -> Text:
        p = self._block.progress
        when = "" if number(record, "time") is None else show.clock(p.elapsed_s)
        prefix = f"{when:>7} {_MARKS.get(note.tone, ' ')} "
        width = self._console.width - len(prefix) - 1
        if self._console.width < 30:
            prefix, width = "", self._console.width - 1
        style = _STYLES[note.tone]
        wrapped = Text(note.text, style=style).wrap(self._console, max(1, width))
        first = Text(prefix, style="dim" if note.tone == "quiet" else style)
        return first + Text("\n" + " " * len(prefix)).join(wrapped)


def _is_kept(record: Record) -> bool:
    match record.get("event"):
        case "phase" | "run_ended":
            return False
        case "evaluation":
            return record.get("best") is True
    return True


class _ReflowHook(RenderHook):
    """Clears the rows that a terminal made of the block's lines by wrapping them when it shrank.

    rich climbs over as many rows as it drew lines; the rest would stay behind at each resize.
    """

    def __init__(self, console: Console, block: Block) -> None:
        self._console = console
        self._block = block

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Climb over the added rows before rich climbs over its own."""
        extra = rows_to_climb(self._block.drawn_widths, self._console.width)
        return [climb(extra), *renderables] if extra else renderables
