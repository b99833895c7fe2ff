"""A page that opens anywhere: it loads nothing and runs only our own script."""

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from string import Template


def make_document(title: str, body: str, data: object) -> str:
    """Return a page as one HTML document.

    Args:
        title: Of its window.
        body: HTML, in the classes of ``report.css``.
        data: What ``report.js`` draws: ``numTrain``, ``charts`` and ``marks``.
    """
    style = _asset("vendor/uPlot.min.css") + _asset("report.css")
    # the first of them is a comment: the licence goes wherever the code goes
    scripts = ("vendor/uPlot.LICENSE.js", "vendor/uPlot.iife.min.js", "report.js")
    script = "\n".join(_asset(name) for name in scripts)
    return Template(_asset("document.html.template")).substitute(
        title=escape(title),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        body=body,
        data=_json_in_html(data),
    )


def tile(label: str, value: str, remark: str) -> str:
    """Return one of the numbers at the top of a page."""
    small = f'<dd class="remark">{escape(remark)}</dd>' if remark else ""
    return f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd>{small}</div>\n"


def figure(index: int, title: str, said: str, table: str, *, may_be_log: bool = False) -> str:
    """Return the place of a chart.

    Args:
        index: Of the chart in the data.
        title: Of the chart.
        said: What it shows, in words: for those who cannot see it, and for the hurried.
        table: Its numbers, as HTML.
        may_be_log: The reader may switch to a logarithmic axis.
    """
    title, said = escape(title), escape(said)
    choice = (
        f'<label class="log"><input type="checkbox" data-log="{index}"> log scale</label>'
        if may_be_log
        else ""
    )
    return f"""<figure>
<figcaption><h3 id="title-{index}">{title}</h3>{choice}</figcaption>
<div class="plot" id="plot-{index}" role="img" aria-labelledby="title-{index}"
 aria-describedby="summary-{index}"></div>
<p class="summary" id="summary-{index}">{said}</p>
<details><summary>Table<span class="hidden"> of {title}</span></summary>
{table}</details>
</figure>
"""


def _asset(name: str) -> str:
    return files("cluster.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json_in_html(value: object) -> str:
    """Return JSON that stays data wherever it stands in a document."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
