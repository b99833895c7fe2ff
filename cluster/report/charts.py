"""The curves of a run as tables of numbers, thinned out, with a sentence on each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from absa.events import Record
from cluster.report.downsample import keep_changes, keep_extremes
from cluster.report.history import Placed
from cluster.views import number_format as show
from cluster.views.fields import mapping, number, printable

Format = Literal["loss", "percent", "count", "rate", "si"]

FORMATS: dict[Format, Callable[[float | None], str]] = {
    "loss": show.loss,
    "percent": show.percent,
    "count": show.count,
    "rate": show.learning_rate,
    "si": show.si,
}
_MAX_METRICS = 6
"""Curves in one chart that can still be told apart."""
_WITH_WORKERS = ("run_started", "observation", "resize")


@dataclass(frozen=True)
class Series:
    """One curve: ``values[i]`` belongs to ``rows[i]`` of its chart, None where it has no point."""

    label: str
    values: list[float | None]
    dots: bool
    """Whether points are marked: measured now and then rather than all along."""


@dataclass(frozen=True)
class Chart:
    """Curves over the same rows."""

    title: str
    format: Format
    rows: list[Placed]
    series: list[Series]
    steps: bool
    scale: Literal["linear", "log2", "choice"]
    """``choice``: the reader may switch to a logarithmic axis."""


@dataclass(frozen=True)
class _Curve:
    label: str
    events: tuple[str, ...]
    value: Callable[[Record], float | None]
    dots: bool = False


@dataclass(frozen=True)
class _Spec:
    title: str
    format: Format
    curves: list[_Curve]
    steps: bool = False
    scale: Literal["linear", "log2", "choice"] = field(default="linear")


def make_charts(points: Sequence[Placed]) -> list[Chart]:
    """Return a chart for everything that the surviving records measure; none without a value."""
    charts = (_make_chart(spec, points) for spec in _specs(points))
    return [chart for chart in charts if chart.series]


def eigenvalue_charts(points: Sequence[Placed]) -> list[Chart]:
    """Return the chart of the largest eigenvalue, if it was ever measured."""
    chart = _make_chart(_eigenvalue_spec(), points)
    return [chart] if chart.series else []


def _specs(points: Sequence[Placed]) -> list[_Spec]:
    names = _metric_names(points)
    fractions = [name for name in names if show.is_fraction(name)]
    others = [name for name in names if name not in fractions and name != "loss"]
    evaluation_loss = _metric("loss", label="evaluation")
    batch = [
        _observed("global batch", "global_batch"),
        _Curve("one worker: micro-batch \u00d7 accumulation", ("observation",), _worker_batch),
        _observed("micro-batch", "micro_batch"),
    ]
    return [
        _Spec("Loss", "loss", [_observed("training", "loss"), evaluation_loss], scale="choice"),
        _Spec("Accuracy", "percent", [_metric(name) for name in fractions[:_MAX_METRICS]]),
        _Spec("Other metrics", "loss", [_metric(name) for name in others[:_MAX_METRICS]]),
        _Spec("Batch [samples]", "count", batch, steps=True, scale="log2"),
        _Spec(
            "Gradient noise scale [samples]",
            "si",
            [
                _observed("noise scale", "noise_scale"),
                _observed("at least", "noise_lower"),
                _observed("at most", "noise_upper"),
                _observed("global batch", "global_batch"),
            ],
            scale="choice",
        ),
        _eigenvalue_spec(),
        _Spec("Learning rate", "rate", [_observed("learning rate", "learning_rate")]),
        _Spec("Throughput [samples/s]", "si", [_observed("samples/s", "samples_per_s")]),
        _Spec("Workers", "count", [_Curve("workers", _WITH_WORKERS, _workers)], steps=True),
        _Spec(
            "Gradient norm", "rate", [_observed("before clipping", "gradient_norm")], scale="choice"
        ),
    ]


def _eigenvalue_spec() -> _Spec:
    curves = [_curvature("found, so at least", "value"), _curvature("at most", "upper")]
    return _Spec("Largest eigenvalue of the Hessian", "rate", curves, scale="choice")


def _metric_names(points: Sequence[Placed]) -> list[str]:
    names: dict[str, None] = {}
    for point in points:
        if point.record.get("event") == "evaluation":
            names.update(dict.fromkeys(map(str, mapping(point.record, "metrics"))))
    return sorted(names, key=lambda name: (name != "accuracy", name))


def _observed(label: str, key: str) -> _Curve:
    return _Curve(label, ("observation",), lambda record: number(record, key))


def _curvature(label: str, key: str) -> _Curve:
    return _Curve(label, ("curvature",), lambda record: number(record, key), dots=True)


def _metric(name: str, label: str | None = None) -> _Curve:
    return _Curve(
        label or printable(name)[:60],
        ("evaluation",),
        lambda record: number(mapping(record, "metrics"), name),
        dots=True,
    )


def _worker_batch(record: Record) -> float | None:
    micro, steps = number(record, "micro_batch"), number(record, "accumulation_steps")
    return None if micro is None or steps is None else micro * steps


def _workers(record: Record) -> float | None:
    return number(record, "after" if record.get("event") == "resize" else "workers")


def _make_chart(spec: _Spec, points: Sequence[Placed]) -> Chart:
    kept = [(curve, _thinned(curve, points, steps=spec.steps)) for curve in spec.curves]
    kept = [(curve, values) for curve, values in kept if values]
    order = sorted({index for _, values in kept for index in values})
    series = [
        Series(curve.label, [values.get(index) for index in order], curve.dots)
        for curve, values in kept
    ]
    return Chart(
        spec.title, spec.format, [points[index] for index in order], series, spec.steps, spec.scale
    )


def _thinned(curve: _Curve, points: Sequence[Placed], *, steps: bool) -> dict[int, float]:
    found = [
        (index, value)
        for index, point in enumerate(points)
        if point.record.get("event") in curve.events
        and (value := curve.value(point.record)) is not None
    ]
    if steps:
        found = [found[i] for i in keep_changes([value for _, value in found])]
    return dict(found[i] for i in keep_extremes([value for _, value in found]))


def summary(chart: Chart, num_train: float | None) -> str:
    """Return what the curves do, in words: for those who cannot see them, and for the hurried."""
    said = [_say(chart, series, num_train) for series in chart.series]
    return ". ".join(said) + "."


def _say(chart: Chart, series: Series, num_train: float | None) -> str:
    form = FORMATS[chart.format]
    known = [
        (value, row)
        for value, row in zip(series.values, chart.rows, strict=True)
        if value is not None
    ]
    first, last = known[0][0], known[-1][0]
    low, high = min(known, key=lambda kv: kv[0]), max(known, key=lambda kv: kv[0])
    name = series.label[:1].upper() + series.label[1:]
    if low[0] == high[0]:
        return f"{name}: {form(first)} throughout"
    extremes = [
        f"{word} {form(value)} at {position(row, num_train)}"
        for word, (value, row) in (("lowest", low), ("highest", high))
        if value not in (first, last)
    ]
    return ", ".join([f"{name}: from {form(first)} to {form(last)}", *extremes])


def position(point: Placed, num_train: float | None) -> str:
    """Return where a record lies in words: in epochs where their length is known."""
    return f"{'epoch' if num_train else 'sample'} {place_value(point, num_train)}"


def place_value(point: Placed, num_train: float | None) -> str:
    """Return where a record lies: as an epoch where its length is known, else in samples."""
    return show.epoch(point.samples / num_train) if num_train else show.count(point.samples)
