"""The spectrum as a page in the look of the report."""

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

import numpy as np
from numpy.typing import NDArray

from absa.curvature.density import SpectralDensity
from absa.events import Record
from cluster.report.charts import eigenvalue_charts
from cluster.report.document import figure, make_document, tile
from cluster.report.downsample import keep_extremes
from cluster.report.happenings import happenings
from cluster.report.history import place, survivors
from cluster.report.page import chart_data, chart_figure, marks_data
from cluster.report.tables import cells, html_table
from cluster.spectrum.findings import findings, largest, matrix_name, number, told
from cluster.spectrum.measure import Spectrum
from cluster.spectrum.restored import Restored
from cluster.views import number_format as show

_TITLE = "Spectral density"
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
    curves = eigenvalue_charts(survivors(placed))
    data = {
        "numTrain": num_train,
        "charts": [_density_data(spectrum), *(chart_data(chart) for chart in curves)],
        "marks": marks_data(rows) if curves else [],
    }
    matrix = matrix_name(restored.job.curvature.operator)
    charts = [chart_figure(i, chart, num_train) for i, chart in enumerate(curves, start=1)]
    template = files("cluster.spectrum").joinpath("spectrum.html.template").read_text("utf-8")
    body = Template(template).substitute(
        name=escape(restored.job.name),
        place=escape(where(restored)),
        subtitle=escape(_subtitle(restored)),
        numbers="".join(tile(f.label, f.value, f.remark) for f in findings(spectrum)),
        matrix=escape(matrix),
        charts="".join([_density_figure(spectrum.density), *charts]),
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


def visible_curve(density: SpectralDensity) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the density for a logarithmic axis: cut off below a tenth of a single eigenvalue."""
    grid, height = density.curve()
    single = 1 / (density.dim * density.bandwidth * math.sqrt(2 * math.pi))
    return grid, np.maximum(height, single / 10)


def _density_data(spectrum: Spectrum) -> object:
    grid, height = visible_curve(spectrum.density)
    marks = [
        {
            "kind": "ritz",
            "x": each.value,
            "text": f"eigenvalue {rank}: {number(each.value, 4)}",
        }
        for rank, each in enumerate(largest(spectrum), start=1)
    ]
    series = {"label": "density", "dots": False, "values": _short(height)}
    return {
        "title": _TITLE,
        "format": "rate",
        "steps": False,
        "scale": "log",
        "x": {"label": "eigenvalue", "values": _short(grid), "marks": marks},
        "series": [series],
    }


def _short(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]


def _density_figure(density: SpectralDensity) -> str:
    grid, height = visible_curve(density)
    kept = keep_extremes(height.tolist(), _TABLE_POINTS)
    rows = (cells([number(grid[i]), number(height[i])]) for i in kept)
    low, high = density.range
    said = (
        f"Share of eigenvalues per unit, on a logarithmic axis: from {number(low)} to "
        f"{number(high)}, densest at {number(grid[height.argmax()], 2)}."
    )
    return figure(0, _TITLE, said, html_table(_TITLE, ["eigenvalue", "density"], rows))


def _largest_table(spectrum: Spectrum) -> str:
    rows = (
        cells([str(rank), number(each.value, 4), number(each.residual, 2)])
        for rank, each in enumerate(largest(spectrum), start=1)
    )
    return html_table("Largest eigenvalues", ["rank", "eigenvalue", "residual"], rows)
