"""The plan as a page in the look of the report."""

from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from string import Template

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
from cluster.report.document import figure, make_document, tile
from cluster.report.tables import cells, html_table
from cluster.views import number_format as show

_UNITS = (("Days", 86_400.0), ("Hours", 3600.0), ("Minutes", 60.0), ("Seconds", 1.0))


def make_page(plan: Plan) -> str:
    """Return the page as one HTML document."""
    rows, name, unit = plan.frontier.rows, money_name(plan), _unit(plan)
    charts = [
        _chart(f"{unit[0]} against {name}", name, rows, unit, lambda row: money(plan, row).value),
        _chart(f"{unit[0]} by workers", "workers", rows, unit, lambda row: float(row.workers)),
    ]
    template = files("cluster.planning").joinpath("plan.html.template").read_text("utf-8")
    body = Template(template).substitute(
        name=escape(plan.name),
        subtitle=escape(_subtitle(plan)),
        numbers="".join(tile(f.label, f.value, f.remark) for f in findings(plan)),
        charts="".join(_figure(i, chart, plan) for i, chart in enumerate(charts)),
        choices=_table(plan),
        told="".join(f'<p class="told">{escape(text)}</p>\n' for text in told(plan)),
    )
    data = {"numTrain": None, "charts": charts, "marks": []}
    return make_document(f"{plan.name} - absa plan", body, data)


def _subtitle(plan: Plan) -> str:
    model = plan.job.model.name if plan.job.task is None else plan.job.task.use
    price = plan.price
    each = f"{amount(price)} per worker-hour" if price else "no price: workers.price_per_hour"
    return " · ".join([model, each])


def _unit(plan: Plan) -> tuple[str, float]:
    """Return the unit that the times are drawn in, and its seconds."""
    longest = plan.frontier.rows[0].time_s.value
    return next(unit for unit in _UNITS if longest >= 3 * unit[1] or unit[1] == 1)


def _chart(
    title: str,
    label: str,
    rows: Sequence[Row],
    unit: tuple[str, float],
    at: Callable[[Row], float],
) -> dict[str, object]:
    """Return what the script draws: the time of each row with its interval.

    The rows ascend in money and in workers alike: of two that are not beaten, the faster is dearer.
    """
    ends: list[tuple[str, Callable[[Interval], float]]] = [
        (unit[0].lower(), lambda one: one.value),
        ("at least", lambda one: one.lower),
        ("at most", lambda one: one.upper),
    ]
    marks = [
        # drawn like a resize, which a choice of workers is
        {"kind": "resize", "x": at(row), "text": f"{row.workers}: {_said(row)}"}
        for row in rows
    ]
    series = [
        {"label": name, "dots": True, "values": [_short(end(row.time_s) / unit[1]) for row in rows]}
        for name, end in ends
    ]
    return {
        "title": title,
        "format": "rate",
        "steps": False,
        "scale": "log",
        "x": {"label": label, "values": [_short(at(row)) for row in rows], "marks": marks},
        "series": series,
    }


def _said(row: Row) -> str:
    return f"{show.duration(row.time_s.value)} ({time_span(row.time_s)})"


def _short(value: float) -> float:
    return float(f"{value:.7g}")


def _figure(index: int, chart: dict[str, object], plan: Plan) -> str:
    first, last = plan.frontier.rows[0], plan.frontier.rows[-1]
    said = (
        f"From {show.duration(first.time_s.value)} with {first.workers} to "
        f"{show.duration(last.time_s.value)} with {last.workers} workers, on a logarithmic axis."
    )
    return figure(index, str(chart["title"]), said, _table(plan))


def _table(plan: Plan) -> str:
    head = ["workers", "time", "from - to", money_name(plan), "from - to", "choose", "last batch"]
    rows = (
        cells(
            [
                f"{row.workers}{'' if row.measured else ' ?'}",
                show.duration(row.time_s.value),
                time_span(row.time_s),
                amount(money(plan, row).value),
                span(money(plan, row)),
                pick(row),
                str(row.plan),
            ]
        )
        for row in plan.frontier.rows
    )
    return html_table("Choices", head, rows)
