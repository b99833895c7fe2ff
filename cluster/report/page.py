"""Fill the template: every text is escaped, every number formatted, nothing is loaded."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from cluster.report.charts import Chart, summary
from cluster.report.document import figure, make_document, tile
from cluster.report.happenings import MARKED, Happening
from cluster.report.headline import Headline
from cluster.report.history import Placed
from cluster.report.tables import chart_table, events_table

_MAX_JOB = 100_000


def make_page(
    headline: Headline, charts: Sequence[Chart], rows: Sequence[Happening], left_out: int, job: str
) -> str:
    """Return the report as one HTML document that loads nothing and runs only our own script."""
    template = files("cluster.report").joinpath("report.html.template").read_text("utf-8")
    body = Template(template).substitute(
        name=escape(headline.name),
        subtitle=escape(headline.subtitle),
        state=headline.state,
        state_words=escape(headline.state_words),
        numbers="".join(tile(*one) for one in headline.numbers),
        axis="epochs" if headline.num_train else "samples",
        charts="".join(chart_figure(i, one, headline.num_train) for i, one in enumerate(charts))
        or "<p>Nothing has been measured yet.</p>",
        events=events_table(rows, headline.num_train, left_out),
        job=escape(job[:_MAX_JOB] + ("\n..." if len(job) > _MAX_JOB else "")),
    )
    return make_document(f"{headline.name} - absa report", body, _data(headline, charts, rows))


def _data(headline: Headline, charts: Sequence[Chart], rows: Sequence[Happening]) -> object:
    return {
        "numTrain": headline.num_train,
        "charts": [chart_data(chart) for chart in charts],
        "marks": marks_data(rows),
    }


def marks_data(rows: Sequence[Happening]) -> list[object]:
    """Return what the script draws of what happened: a vertical line each."""
    return [
        {"kind": row.kind, "text": row.text, **_at(row.at)}
        for row in rows
        if row.kind in MARKED and row.at.survives
    ]


def chart_data(chart: Chart) -> object:
    """Return what the script draws of a chart."""
    return {
        "title": chart.title,
        "format": chart.format,
        "steps": chart.steps,
        "scale": chart.scale,
        "samples": [round(row.samples) for row in chart.rows],
        "seconds": [round(row.seconds, 3) for row in chart.rows],
        "series": [
            {
                "label": series.label,
                "dots": series.dots,
                "values": [None if v is None else float(f"{v:.7g}") for v in series.values],
            }
            for series in chart.series
        ],
    }


def _at(point: Placed) -> dict[str, float]:
    return {"samples": round(point.samples), "seconds": round(point.seconds, 3)}


def chart_figure(index: int, chart: Chart, num_train: float | None) -> str:
    """Return the place of a chart of the run, with its words and numbers."""
    said, table = summary(chart, num_train), chart_table(chart, num_train)
    return figure(index, chart.title, said, table, may_be_log=chart.scale == "choice")
