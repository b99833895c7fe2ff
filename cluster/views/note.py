"""Say in one sentence what a record means: the same words in the terminal and in the report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from absa.events import Record
from cluster.views import number_format as show
from cluster.views.decision_note import decision_words
from cluster.views.fields import mapping, number, printable, text

Tone = Literal["good", "quiet", "change", "warning", "bad", "plain"]
"""How much attention a note asks for, and of which kind."""

COMMON_KEYS = frozenset({"event", "time", "lineage", "generation", "update", "samples"})

STOP_REASONS = {
    "epochs": "all epochs done",
    "updates": "limit of updates reached",
    "samples": "limit of samples reached",
    "time": "time limit reached",
    "target": "target accuracy reached",
    "interrupted": "interrupted",
    "diverged": "diverged: too many updates in a row were not finite",
}
"""Why a run ended, in words."""

_NAMES = {
    "global_batch": "batch",
    "micro_batch": "micro-batch",
    "accumulation_steps": "accumulation",
    "learning_rate": "learning rate",
    "max_batch": "largest batch",
}


@dataclass(frozen=True)
class Note:
    """One sentence about a record."""

    tone: Tone
    text: str


def describe(record: Record) -> Note | None:
    """Return what the record means, or None for one that only moves curves and progress.

    A kind that is not known is shown plainly, with all that it carries.
    """
    kind = record.get("event")
    if kind in ("observation", "curvature", "run_folder"):
        return None
    if kind == "decision":
        words = decision_words(record)
        return None if words is None else Note("change", words)
    known = _DESCRIBE.get(kind) if isinstance(kind, str) else None
    return _unknown(record) if known is None else known(record)


def main_metric(metrics: Mapping[str, Any]) -> str | None:
    """Return the metric that stands for a run: accuracy, else the first that is not the loss."""
    names = [str(name) for name in metrics]
    if "accuracy" in names:
        return "accuracy"
    return next((name for name in names if name != "loss"), names[0] if names else None)


def stop_words(reason: str | None) -> str:
    """Return why a run ended, in words."""
    return "ended" if reason is None else STOP_REASONS.get(reason, reason)


def _run_started(record: Record) -> Note:
    model, task = text(record, "model"), text(record, "task")
    parts = [f"training {model or 'a model'}"]
    if number(record, "num_parameters") is not None:
        parts.append(f"({show.si(number(record, 'num_parameters'))} parameters)")
    if task:
        parts.append(f"for {task}")
    if number(record, "num_train") is not None:
        parts.append(f"on {show.count(number(record, 'num_train'))} samples")
    parts.append(_where(record))
    resumed = text(record, "resumed_from")
    if resumed:
        parts.append(f"from checkpoint {resumed}")
    return Note("change" if resumed else "plain", " ".join(filter(None, parts)))


def _where(record: Record) -> str:
    workers, threads = number(record, "workers"), number(record, "threads")
    device = text(record, "device")
    where = "" if workers is None else f"with {_plural(workers, 'worker')}"
    if device and threads is not None:
        return f"{where} on {device} ({_plural(threads, 'thread')} each)".strip()
    return f"{where} on {device}".strip() if device else where


def _plural(num: float, noun: str) -> str:
    return f"{show.count(num)} {noun}" + ("" if num == 1 else "s")


def _evaluation(record: Record) -> Note:
    metrics = mapping(record, "metrics")
    main = main_metric(metrics)
    names = sorted(map(str, metrics), key=lambda name: (name != main, name))
    values = ", ".join(
        f"{printable(name)} {show.metric(name, number(metrics, name))}" for name in names
    )
    if record.get("best") is True:
        return Note("good", f"best {values}" if values else "best evaluation")
    return Note("plain", values or "evaluated")


def _checkpoint(record: Record) -> Note:
    size, seconds = number(record, "bytes"), number(record, "seconds")
    parts = ["checkpoint", text(record, "checkpoint")]
    parts.append(None if size is None else show.si(size, "B"))
    parts.append(None if seconds is None else f"in {show.duration(seconds)}")
    parts.append("(best)" if record.get("best") is True else None)
    return Note("quiet", " ".join(part for part in parts if part))


def _update_skipped(record: Record) -> Note:
    consecutive = number(record, "consecutive")
    reason = text(record, "reason") or "no reason given"
    row = "" if consecutive is None or consecutive < 2 else f" ({consecutive:.0f} in a row)"
    return Note("warning", f"update skipped: {reason}{row}")


def _settings(record: Record) -> Note:
    changed = next((m for k in ("changed", "what", "changes") if (m := mapping(record, k))), {})
    changes = ", ".join(_change(str(name), pair) for name, pair in changed.items())
    reason = text(record, "reason")
    return Note("change", (changes or "settings") + (f": {reason}" if reason else ""))


def _change(name: str, pair: object) -> str:
    label = printable(_NAMES.get(name, name))
    if isinstance(pair, list | tuple) and len(pair) == 2:
        return f"{label} {_value(name, pair[0])} → {_value(name, pair[1])}"
    return f"{label} {_value(name, pair)}"


def _value(name: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    as_number = number({name: value}, name)
    if as_number is None or isinstance(value, int):
        return printable(str(value))
    return show.significant(as_number, 3)


def _fault(record: Record) -> Note:
    parts = [text(record, "what"), text(record, "detail")]
    return Note("bad", "fault: " + (": ".join(part for part in parts if part) or "no details"))


def _warning(record: Record) -> Note:
    return Note("warning", text(record, "text") or "no details")


def _resize(record: Record) -> Note:
    after = number(record, "after")
    said = "workers changed" if after is None else _plural(after, "worker")
    moves = [(number(record, word), word) for word in ("joined", "left", "lost")]
    moved = ", ".join(f"{show.count(num)} {word}" for num, word in moves if num)
    seconds, reason = number(record, "seconds"), text(record, "reason")
    stall = "" if seconds is None else f" after a stall of {show.duration(seconds)}"
    tone: Tone = "warning" if number(record, "lost") else "change"
    why = f": {reason}" if reason and reason != moved else ""
    return Note(tone, said + (f" ({moved})" if moved else "") + stall + why)


def _run_ended(record: Record) -> Note:
    reason = text(record, "reason")
    tones: dict[str | None, Tone] = {"diverged": "bad", "interrupted": "warning"}
    return Note(tones.get(reason, "good"), stop_words(reason))


def _phase(record: Record) -> Note:
    return Note("quiet", text(record, "text") or "starting")


def _unknown(record: Record) -> Note:
    fields = (
        f"{printable(str(key))}={text(record, key)}"
        for key in record
        if key not in COMMON_KEYS and record[key] is not None
    )
    return Note("plain", " ".join([text(record, "event") or "record", *fields]))


_DESCRIBE: dict[str, Callable[[Record], Note]] = {
    "run_started": _run_started,
    "evaluation": _evaluation,
    "checkpoint": _checkpoint,
    "update_skipped": _update_skipped,
    "settings": _settings,
    "fault": _fault,
    "resize": _resize,
    "warning": _warning,
    "run_ended": _run_ended,
    "phase": _phase,
}
