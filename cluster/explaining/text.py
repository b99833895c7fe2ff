"""The decisions of a run for a terminal of 80 columns."""

import textwrap
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from cluster.explaining.findings import findings
from cluster.explaining.read import Explained
from cluster.explaining.story import Change, Chapter, Kept
from cluster.views import number_format as show
from cluster.views.fields import number

_WIDEST, _LABEL, _AT = 79, 14, 19


class ExplainedText:
    """Draws what there is to explain for the width at hand.

    Args:
        run: The run.
    """

    def __init__(self, run: Explained) -> None:
        self._run = run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the lines."""
        # A line that fills the last column makes some terminals wrap: stay one short of it.
        width = max(12, min(options.max_width - 1, _WIDEST))
        for line in self._lines(width):
            if options.ascii_only:
                line.plain = line.plain.replace("→", "->")
            line.truncate(width, overflow="crop")
            line.rstrip()
            yield line

    def _lines(self, width: int) -> list[Text]:
        run = self._run
        policy = f"policy {run.policy}, " if run.policy else ""
        lines = [Text(run.name, "bold"), Text(f"  {policy}{run.state}"), Text()]
        if not run.decisions:
            lines += [*wrapped(_without(run), width), Text()]
        if run.chapters:
            lines.append(Text(f"{self._unit():>8}{'update':>9}", "dim"))
            lines += [line for chapter in run.chapters for line in self._chapter(chapter, width)]
            lines.append(Text())
        rows = [
            Text.assemble(
                (f"  {found.label:<{_LABEL}}", "dim"),
                (f"{found.value:>12}", "bold"),
                f"  {found.remark}",
            )
            for found in findings(run)
        ]
        return lines + rows

    def _unit(self) -> str:
        return "samples" if self._run.num_train is None else "epoch"

    def _chapter(self, chapter: Chapter, width: int) -> Iterable[Text]:
        if isinstance(chapter, Kept):
            return self._kept(chapter, width)
        if isinstance(chapter, Change):
            return self._change(chapter, width)
        update = number(chapter.at.record, "update")
        return _beside(self._at(chapter.at.samples, update), [chapter.text], width, "yellow")

    def _change(self, change: Change, width: int) -> Iterable[Text]:
        said = change.said
        told = [", ".join(said.movements()), f"{said.rule}: {said.reason}"]
        told += [f"no more than that: {limit}" for limit in said.limits]
        return _beside(self._at(said.samples, said.update), told, width, "bold")

    def _kept(self, kept: Kept, width: int) -> Iterable[Text]:
        first, last = self._place(kept.first), self._place(kept.last)
        at = first if first == last else f"{first} to {last}"
        return _beside(f"{at:>{_AT - 2}}", _why_kept(kept), width, "dim")

    def _at(self, samples: float, update: float | None) -> str:
        return f"{self._place(samples):>8}{show.count(update):>9}"

    def _place(self, samples: float) -> str:
        if self._run.num_train is None:
            return show.count(samples)
        epoch = samples / self._run.num_train
        return f"{epoch:.2f}" if epoch < 100 else f"{epoch:.1f}"


def wrapped(text: str, width: int) -> list[Text]:
    """Return a paragraph, indented by two.

    Args:
        text: On one line.
        width: Columns.
    """
    lines = textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")
    return [Text(line) for line in lines]


def _beside(at: str, told: Iterable[str], width: int, style: str) -> list[Text]:
    """Return paragraphs in a column of their own, the place beside the first line."""
    column = max(12, width - _AT)
    lines = [line for text in told for line in textwrap.wrap(text, column) or [""]]
    return [
        Text(f"{at if index == 0 else '':<{_AT}}{line}", style if index == 0 else "")
        for index, line in enumerate(lines)
    ]


def _why_kept(kept: Kept) -> list[str]:
    told = []
    if kept.reasons:
        times = "once" if kept.count == 1 else f"{kept.count} times"
        several = len(kept.reasons) > 1
        reasons = [f"{one.text} ({one.count})" if several else one.text for one in kept.reasons]
        told.append(f"kept {times}: {'; '.join(reasons)}")
    if kept.rates:
        first, last, num = kept.rates[0][0], kept.rates[-1][1], len(kept.rates)
        steps = "" if num == 1 else f" in {num} steps"
        told.append(f"the learning rate followed the signals{steps}: x{first:.3g} -> x{last:.3g}")
    return told


def _without(run: Explained) -> str:
    if run.policy is not None:
        return "Nothing has been decided yet: the first decision comes with the first observation."
    return (
        "This run recorded no decisions: it was trained by a version of absa that made none, or "
        "has not come to the first one yet."
    )
