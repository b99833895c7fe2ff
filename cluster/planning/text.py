"""A plan for a terminal of 80 columns: a table, and the intervals of time as a drawing."""

import math
import textwrap

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from absa.policy.interval import Interval
from cluster.planning.find import Plan
from cluster.planning.findings import (
    amount,
    findings,
    money,
    money_name,
    pick,
    span,
    time_span,
    told,
)
from cluster.planning.frontier import Row
from cluster.views import number_format as show

_WIDEST, _LABEL = 79, 18
_SIGNS, _PLAIN = "├─●┤", "|-o|"


class PlanText:
    """Draws a plan for the width at hand.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the lines."""
        # A line that fills the last column makes some terminals wrap: stay one short of it.
        width = max(12, min(options.max_width - 1, _WIDEST))
        signs = _PLAIN if options.ascii_only else _SIGNS
        lines = [*self._heading(), Text(), *self._table(), Text(), *self._drawing(width, signs)]
        lines += [Text(), *self._words(width)]
        for line in lines:
            line.truncate(width, overflow="crop")
            line.rstrip()
        yield from lines

    def _heading(self) -> list[Text]:
        rows = [
            Text.assemble(
                (f"  {found.label:<{_LABEL}}", "dim"),
                (f"{found.value:>12}", "bold"),
                f"  {found.remark}",
            )
            for found in findings(self._plan)
        ]
        return [Text(self._plan.name, "bold"), *rows]

    def _table(self) -> list[Text]:
        name = money_name(self._plan)
        head = f"{'workers':>9}  {'time':<12}{'from - to':<26}{name:<13}from - to"
        return [Text(head, "dim"), *map(self._row, self._plan.frontier.rows)]

    def _row(self, row: Row) -> Text:
        costs = money(self._plan, row)
        workers = f"{row.workers}{' ' if row.measured else '?'}"
        return Text(
            f"{workers:>10} {show.duration(row.time_s.value):<12}{time_span(row.time_s):<26}"
            f"{amount(costs.value):<13}{span(costs)}",
            "bold" if row.workers == self._plan.frontier.staffing.pays else "",
        )

    def _drawing(self, width: int, signs: str) -> list[Text]:
        rows, pays = self._plan.frontier.rows, self._plan.frontier.staffing.pays
        words = [pick(row) + "  pays" * (row.workers == pays) for row in rows]
        widest = max(map(len, words))
        num = max(8, width - widest - 4)
        low = min(row.time_s.lower for row in rows)
        high = max(row.time_s.upper for row in rows)
        drawn = [
            Text.assemble("  ", (bar(row.time_s, (low, high), num, signs), "cyan"), f"  {said}")
            for row, said in zip(rows, words, strict=True)
        ]
        left, right = show.duration(low), show.duration(high)
        axis = f"  {left}{right:>{max(1, num - len(left))}}  time, logarithmic"
        return [*drawn, Text(axis, "dim")]

    def _words(self, width: int) -> list[Text]:
        return [
            Text(line)
            for text in told(self._plan)
            for line in textwrap.wrap(text, width - 2, initial_indent="  ", subsequent_indent="  ")
        ]


def bar(interval: Interval, ends: tuple[float, float], num: int, signs: str) -> str:
    """Return an interval on a logarithmic axis.

    Args:
        interval: Above 0.
        ends: Of the axis.
        num: Columns.
        signs: Left end, line, value and right end.
    """
    low, value, high = (
        _column(one, ends, num) for one in (interval.lower, interval.value, interval.upper)
    )
    line = [" "] * num
    line[low : high + 1] = signs[1] * (high + 1 - low)
    line[low], line[high] = signs[0], signs[3]
    line[value] = signs[2]
    return "".join(line)


def _column(value: float, ends: tuple[float, float], num: int) -> int:
    low, high = map(math.log, ends)
    share = (math.log(value) - low) / (high - low) if high > low else 0.5
    return min(num - 1, max(0, round(share * (num - 1))))
