"""The spectrum as a page in the look of the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
from numpy.typing import NDArray

from absa.events import Record
from cluster.report.charts import eigenvalue_charts
from cluster.report.document import figure, make_document, tile
from cluster.report.downsample import keep_extremes
from cluster.report.happenings import happenings
from cluster.report.history import place, survivors
from cluster.report.page import chart_data, chart_figure, marks_data
from cluster.report.tables import cells, html_table
from cluster.spectrum.findings import (
    findings,
    largest,
    matrix_name,
    number,
    outliers,
    single_height,
    told,
)
from cluster.spectrum.measure import Spectrum
from cluster.spectrum.restored import Restored
from cluster.views import number_format as show

_TABLE_POINTS = 40
"""Rows of the table beneath the density."""


def make_page(restored: Restored, spectrum: Spectrum, records: Sequence[Record]) -> str:
    """Return the page as one HTML document.

    Args:
        restored: The checkpoint.
        spectrum: What was measured of it.
        records: The run's journal.
    """
    num_train = float(len(restored.replica.train))
    placed = place(records)
    rows, _ = happenings(placed)
    views, curves = _views(spectrum), eigenvalue_charts(survivors(placed))
    data = {
        "numTrain": num_train,
        "charts": [*map(_density_data, views), *map(chart_data, curves)],
        "marks": marks_data(rows) if curves else [],
    }
    matrix = matrix_name(restored.job.curvature.operator)
    charts = [_density_figure(i, view) for i, view in enumerate(views)]
    charts += [chart_figure(i, one, num_train) for i, one in enumerate(curves, start=len(views))]
    template = files("cluster.spectrum").joinpath("spectrum.html.template").read_text("utf-8")
    body = Template(template).substitute(
        name=escape(restored.job.name),
        place=escape(where(restored)),
        subtitle=escape(_subtitle(restored)),
        numbers="".join(tile(f.label, f.value, f.remark) for f in findings(spectrum)),
        matrix=escape(matrix),
        charts="".join(charts),
        largest=_largest_table(spectrum),
        measured="".join(
            f'<p class="told">{escape(text)}</p>\n' for text in told(spectrum, matrix)
        ),
    )
    return make_document(f"{restored.job.name} - absa spectrum", body, data)


def where(restored: Restored) -> str:
    """Return how far training had come."""
    epoch = restored.progress.samples / len(restored.replica.train)
    return f"update {show.count(restored.progress.updates)}, epoch {show.epoch(epoch)}"


def _subtitle(restored: Restored) -> str:
    model = restored.job.model.name if restored.job.task is None else restored.job.task.use
    num = sum(parameter.numel() for parameter in restored.replica.parameters)
    parts = [restored.run.name, restored.checkpoint, model, f"{show.si(num)} parameters"]
    return " · ".join(parts)


@dataclass(frozen=True)
class View:
    """A density as a logarithmic axis shows it.

    Args:
        title: Of its chart.
        grid: Eigenvalues, ascending.
        height: The density there, cut off below a tenth of a single eigenvalue.
        peaks: The eigenvalues that are told one by one, ascending, with their ranks.
    """

    title: str
    grid: NDArray[np.float64]
    height: NDArray[np.float64]
    peaks: list[tuple[float, int]]


def whole(spectrum: Spectrum) -> View:
    """Return all of the density."""
    low, high = spectrum.density.range
    margin = 5 * spectrum.density.bandwidth
    return _view("Spectral density", spectrum, (low - margin, high + margin))


def bulk(spectrum: Spectrum) -> View:
    """Return the density without the eigenvalues that stand apart."""
    low, high = spectrum.density.bulk
    margin = 3 * spectrum.density.bandwidth
    return _view("Spectral density of the bulk", spectrum, (low - margin, high + margin))


def _view(title: str, spectrum: Spectrum, span: tuple[float, float]) -> View:
    grid, height = spectrum.density.curve()
    inside = (grid >= span[0]) & (grid <= span[1])
    peaks = sorted((each.value, rank) for rank, each in enumerate(largest(spectrum), start=1))
    return View(
        title,
        grid[inside],
        np.maximum(height[inside], single_height(spectrum.density) / 10),
        [(value, rank) for value, rank in peaks if span[0] <= value <= span[1]],
    )


def _views(spectrum: Spectrum) -> list[View]:
    return [whole(spectrum)] if outliers(spectrum) == 0 else [whole(spectrum), bulk(spectrum)]


def _density_data(view: View) -> object:
    kept = keep_extremes(view.height.tolist())
    marks = [
        {"kind": "ritz", "x": value, "text": f"eigenvalue {rank}: {number(value, 4)}"}
        for value, rank in view.peaks
    ]
    series = {"label": "density", "dots": False, "values": _short(view.height[kept])}
    return {
        "title": view.title,
        "format": "rate",
        "steps": False,
        "scale": "log",
        "x": {"label": "eigenvalue", "values": _short(view.grid[kept]), "marks": marks},
        "series": [series],
    }


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


def _density_figure(index: int, view: View) -> str:
    kept = keep_extremes(view.height.tolist(), _TABLE_POINTS)
    rows = (cells([number(view.grid[i]), number(view.height[i])]) for i in kept)
    said = (
        f"Share of eigenvalues per unit, on a logarithmic axis, from {number(view.grid[0])} to "
        f"{number(view.grid[-1])}."
    )
    return figure(index, view.title, said, html_table(view.title, ["eigenvalue", "density"], rows))


def _largest_table(spectrum: Spectrum) -> str:
    rows = (
        cells([str(rank), number(each.value, 4), number(each.residual, 2)])
        for rank, each in enumerate(largest(spectrum), start=1)
    )
    return html_table("Largest eigenvalues", ["rank", "eigenvalue", "residual"], rows)
