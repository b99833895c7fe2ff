"""The numbers at the top of a report, and how the run ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from absa.events import Record
from cluster.report.charts import position
from cluster.report.history import Placed
from cluster.views import number_format as show
from cluster.views.fields import mapping, number, printable, text
from cluster.views.note import main_metric, stop_words

State = Literal["done", "stopped", "failed", "open"]


@dataclass(frozen=True)
class Headline:
    """What a reader wants first."""

    name: str
    subtitle: str
    state: State
    state_words: str
    numbers: list[tuple[str, str, str]]
    """Label, value, remark."""
    num_train: float | None


def make_headline(points: Sequence[Placed], fallback_name: str) -> Headline:
    """Return the headline of the surviving records."""
    started = _last(points, "run_started") or {}
    num_train = number(started, "num_train")
    newest = max((point.lineage for point in points), default=0)
    ended = _last([point for point in points if point.lineage == newest], "run_ended")
    state, words = _state(ended)
    return Headline(
        name=text(started, "name") or text(started, "run") or fallback_name,
        subtitle=_subtitle(points, started, fallback_name),
        state=state,
        state_words=words,
        numbers=[
            *_metric_numbers(points, ended, num_train),
            *_effort(points, num_train),
            *_resizes(points),
        ],
        num_train=num_train,
    )


def _last(points: Sequence[Placed], event: str) -> Record | None:
    return next((p.record for p in reversed(points) if p.record.get("event") == event), None)


def _state(ended: Record | None) -> tuple[State, str]:
    if ended is None:
        return "open", "no end recorded: still running, or cut off"
    reason = text(ended, "reason")
    states: dict[str | None, State] = {"interrupted": "stopped", "diverged": "failed"}
    return states.get(reason, "done"), stop_words(reason)


def _subtitle(points: Sequence[Placed], started: Record, fallback_name: str) -> str:
    times = (number(point.record, "time") for point in points)
    begun = next((time for time in times if time is not None), None)
    parameters = number(started, "num_parameters")
    parts = [
        text(started, "run") or fallback_name,
        text(started, "model"),
        None if parameters is None else f"{show.si(parameters)} parameters",
        text(started, "device"),
        None if begun is None else _date(begun),
    ]
    return " · ".join(part for part in parts if part)


def _date(unix_s: float) -> str:
    try:
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):  # beyond the calendar
        return ""


def _metric_numbers(
    points: Sequence[Placed], ended: Record | None, num_train: float | None
) -> list[tuple[str, str, str]]:
    evaluations = [p for p in points if p.record.get("event") == "evaluation"]
    final = mapping(ended or {}, "metrics") or _metrics(evaluations[-1:])
    name = main_metric(final)
    if name is None:
        return [("evaluation", show.MISSING, "none yet")]
    best_at = next((p for p in reversed(evaluations) if p.record.get("best") is True), None)
    best = number(mapping(ended or {}, "best_metrics"), name)
    if best is None and best_at is not None:
        best = number(_metrics([best_at]), name)
    where = "" if best_at is None else f"at {position(best_at, num_train)}"
    return [
        (
            f"{'last' if ended is None else 'final'} {printable(name)}",
            show.metric(name, number(final, name)),
            "",
        ),
        (f"best {printable(name)}", show.metric(name, best), where),
    ]


def _metrics(evaluations: Sequence[Placed]) -> Record:
    return dict(mapping(evaluations[0].record, "metrics")) if evaluations else {}


def _effort(points: Sequence[Placed], num_train: float | None) -> list[tuple[str, str, str]]:
    updates = [u for p in points if (u := number(p.record, "update")) is not None]
    samples, seconds = (points[-1].samples, points[-1].seconds) if points else (0.0, 0.0)
    skipped = sum(p.record.get("event") == "update_skipped" for p in points)
    rate = (samples - points[0].samples) / seconds if seconds > 0 else None
    return [
        (
            "updates",
            show.count(max(updates, default=None)),
            f"{skipped} skipped" if skipped else "",
        ),
        (
            "samples",
            show.si(samples) if samples >= 1e7 else show.count(samples),
            f"{show.epoch(samples / num_train)} epochs" if num_train else "",
        ),
        ("time", show.duration(seconds), ""),
        ("samples/s", show.si(rate), "overall"),
    ]


def _resizes(points: Sequence[Placed]) -> list[tuple[str, str, str]]:
    """Return how often workers joined or left, and what share of the time nobody trained for it."""
    resizes = [p for p in points if p.record.get("event") == "resize"]
    if not resizes:
        return []
    stall_s = sum(number(p.record, "seconds") or 0.0 for p in resizes)
    # The axis of time leaves out what lies between two lineages, so a restart's stall is not in it.
    opens = _lineage_starts(points)
    beside_s = sum(
        number(p.record, "seconds") or 0.0
        for p in resizes
        if p.lineage > 0 and p.samples <= opens[p.lineage]
    )
    in_all_s = points[-1].seconds + beside_s
    share = f", {show.percent(stall_s / in_all_s, 1)} of the time" if in_all_s > 0 else ""
    return [("resizes", show.count(len(resizes)), f"{show.duration(stall_s)} of stall{share}")]


def _lineage_starts(points: Sequence[Placed]) -> dict[int, float]:
    starts: dict[int, float] = {}
    for point in points:
        starts.setdefault(point.lineage, point.samples)
    return starts
