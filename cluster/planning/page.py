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


def make_page(plan: Plan) -> str:
    """Return the page as one HTML document."""
    rows, name = plan.frontier.rows, money_name(plan)
    against = sorted(rows, key=lambda row: money(plan, row).value)
    charts = [
        _chart(f"Hours against {name}", name, against, lambda row: money(plan, row).value),
        _chart("Hours by workers", "workers", rows, lambda row: float(row.workers)),
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


def _chart(
    title: str, label: str, rows: Sequence[Row], at: Callable[[Row], float]
) -> dict[str, object]:
    """Return what the script draws: the time of each row with its interval."""
    ends: list[tuple[str, Callable[[Interval], float]]] = [
        ("hours", lambda one: one.value),
        ("at least", lambda one: one.lower),
        ("at most", lambda one: one.upper),
    ]
    marks = [
        # drawn like a resize, which a choice of workers is
        {"kind": "resize", "x": at(row), "text": f"{row.workers}: {_said(row)}"}
        for row in rows
    ]
    series = [
        {"label": name, "dots": True, "values": [_short(end(row.time_s) / 3600) for row in rows]}
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
    head = ["workers", "time", "from - to", money_name(plan), "from - to", "last batch", "choose"]
    rows = (
        cells(
            [
                f"{row.workers}{'' if row.measured else ' ?'}",
                show.duration(row.time_s.value),
                time_span(row.time_s),
                amount(money(plan, row).value),
                span(money(plan, row)),
                str(row.plan),
                pick(row),
            ]
        )
        for row in plan.frontier.rows
    )
    return html_table("Choices", head, rows)
