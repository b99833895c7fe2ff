"""Fill the template: every text is escaped, every number formatted, nothing is loaded."""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from cluster.report.charts import Chart, summary
from cluster.report.happenings import MARKED, Happening
from cluster.report.headline import Headline
from cluster.report.history import Placed
from cluster.report.tables import chart_table, events_table

_MAX_JOB = 100_000


def make_page(
    headline: Headline, charts: Sequence[Chart], rows: Sequence[Happening], left_out: int, job: str
) -> str:
    """Return the report as one HTML document that loads nothing and runs only our own script."""
    style = _asset("vendor/uPlot.min.css") + _asset("report.css")
    # the first of them is a comment: the licence goes wherever the code goes
    scripts = ("vendor/uPlot.LICENSE.js", "vendor/uPlot.iife.min.js", "report.js")
    script = "\n".join(_asset(name) for name in scripts)
    return Template(_asset("report.html.template")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        name=escape(headline.name),
        subtitle=escape(headline.subtitle),
        state=headline.state,
        state_words=escape(headline.state_words),
        numbers="".join(_number(*one) for one in headline.numbers),
        axis="epochs" if headline.num_train else "samples",
        charts="".join(_figure(i, one, headline.num_train) for i, one in enumerate(charts))
        or "<p>Nothing has been measured yet.</p>",
        events=events_table(rows, headline.num_train, left_out),
        job=escape(job[:_MAX_JOB] + ("\n..." if len(job) > _MAX_JOB else "")),
        data=_json_in_html(_data(headline, charts, rows)),
    )


def _asset(name: str) -> str:
    return files("cluster.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json_in_html(value: object) -> str:
    """Return JSON that stays data wherever it stands in a document."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(headline: Headline, charts: Sequence[Chart], rows: Sequence[Happening]) -> object:
    return {
        "numTrain": headline.num_train,
        "charts": [_chart_data(chart) for chart in charts],
        "marks": [
            {"kind": row.kind, "text": row.text, **_at(row.at)}
            for row in rows
            if row.kind in MARKED and row.at.survives
        ],
    }


def _chart_data(chart: Chart) -> object:
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


def _number(label: str, value: str, remark: str) -> str:
    small = f'<dd class="remark">{escape(remark)}</dd>' if remark else ""
    return f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd>{small}</div>\n"


def _figure(index: int, chart: Chart, num_train: float | None) -> str:
    title, said = escape(chart.title), escape(summary(chart, num_train))
    choice = (
        f'<label class="log"><input type="checkbox" data-log="{index}"> log scale</label>'
        if chart.scale == "choice"
        else ""
    )
    return f"""<figure>
<figcaption><h3 id="title-{index}">{title}</h3>{choice}</figcaption>
<div class="plot" id="plot-{index}" role="img" aria-labelledby="title-{index}"
 aria-describedby="summary-{index}"></div>
<p class="summary" id="summary-{index}">{said}</p>
<details><summary>Table<span class="hidden"> of {title}</span></summary>
{chart_table(chart, num_train)}</details>
</figure>
"""
