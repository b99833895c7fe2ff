"""Tables of a report: for readers of numbers, for screen readers, and where no script runs."""

from collections.abc import Iterable, Sequence
from html import escape

from cluster.report.charts import FORMATS, Chart, place_value
from cluster.report.downsample import keep_extremes
from cluster.report.happenings import Happening
from cluster.views import number_format as show
from cluster.views.fields import number

_TABLE_POINTS = 40
"""Rows that a curve gets in the table beneath its chart."""


def chart_table(chart: Chart, num_train: float | None) -> str:
    """Return some of a chart's points as a table: the ends and the extremes of each curve."""
    kept = sorted({i for series in chart.series for i in _table_rows(series.values)})
    form = FORMATS[chart.format]
    head = ["epoch" if num_train else "samples", "time", *(one.label for one in chart.series)]
    body = [
        [
            place_value(chart.rows[i], num_train),
            show.clock(chart.rows[i].seconds),
            *("" if one.values[i] is None else form(one.values[i]) for one in chart.series),
        ]
        for i in kept
    ]
    return html_table(chart.title, head, (cells(row) for row in body))


def _table_rows(values: Sequence[float | None]) -> list[int]:
    known = [(i, value) for i, value in enumerate(values) if value is not None]
    return [known[k][0] for k in keep_extremes([value for _, value in known], _TABLE_POINTS)]


def cells(texts: Iterable[str]) -> str:
    """Return a row of a table."""
    return "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in texts) + "</tr>\n"


def html_table(caption: str, head: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table that scrolls in itself; the rows are HTML."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table><caption class="hidden">{escape(caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>"
    )


def events_table(rows: Sequence[Happening], num_train: float | None, left_out: int) -> str:
    """Return what happened as a table, and a word on the rows that were left out."""
    if not rows:
        return "<p>Nothing was recorded.</p>"
    lineages = len({row.at.lineage for row in rows}) > 1
    position = "epoch" if num_train else "samples"
    head = ["time", position, "update", *["lineage"] * lineages, "what", "details"]
    body = (_event(row, num_train, lineages=lineages) for row in rows)
    more = f"<p>{show.count(left_out)} more in the middle are in events.jsonl.</p>"
    return html_table("Events", head, body) + (more if left_out else "")


def _event(row: Happening, num_train: float | None, *, lineages: bool) -> str:
    at = row.at
    gone = "" if at.survives else ' class="abandoned"'
    update = show.count(number(at.record, "update"))
    kind = f'<span class="kind {row.kind}">{row.kind}</span>'
    note = "" if at.survives else " (abandoned: training went on from before it)"
    texts = [
        show.clock(at.seconds),
        place_value(at, num_train),
        update,
        *[str(at.lineage)] * lineages,
    ]
    cells = (f"<td>{escape(text)}</td>" for text in texts)
    return (
        f"<tr{gone}>{''.join(cells)}<td>{kind}</td>"
        f'<td class="details">{escape(row.text + note)}</td></tr>\n'
    )
