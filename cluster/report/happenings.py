"""What happened in a run beside its curves: rows of the events table and marks on the curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from absa.events import Record
from cluster.report.history import Placed
from cluster.views.note import describe

Kind = Literal[
    "started",
    "resumed",
    "settings",
    "resize",
    "checkpoint",
    "skipped",
    "fault",
    "ended",
    "other",
]

MARKED: tuple[Kind, ...] = ("settings", "resize", "skipped", "fault", "resumed")
"""Kinds that stand on the curves as a vertical line."""

_KINDS: dict[str, Kind] = {
    "settings": "settings",
    "decision": "settings",
    "resize": "resize",
    "checkpoint": "checkpoint",
    "update_skipped": "skipped",
    "fault": "fault",
    "run_ended": "ended",
}
_NO_ROW = ("observation", "evaluation", "curvature", "phase", "run_folder")
_FIRST, _LAST = 50, 150
"""Rows of one kind that are kept from the beginning and the end of a long run."""
_MAX_TEXT = 600


@dataclass(frozen=True)
class Happening:
    """One row."""

    kind: Kind
    text: str
    at: Placed


def happenings(placed: Sequence[Placed]) -> tuple[list[Happening], int]:
    """Return the rows in the order of the journal, and how many more were left out.

    Of each kind the first 50 and the last 150 stay.
    """
    shown = [(one, _kind(one)) for one in placed if _has_row(one.record)]
    by_kind: dict[Kind, list[int]] = {}
    for index, (_, kind) in enumerate(shown):
        by_kind.setdefault(kind, []).append(index)
    kept = sorted(i for indices in by_kind.values() for i in _ends(indices))
    rows = [Happening(kind, _words(one), one) for one, kind in (shown[i] for i in kept)]
    return rows, len(shown) - len(rows)


def _has_row(record: Record) -> bool:
    event = record.get("event")
    # Most decisions are to keep everything: they would hide the others.
    return event not in _NO_ROW and (event != "decision" or describe(record) is not None)


def _ends(indices: list[int]) -> list[int]:
    if len(indices) <= _FIRST + _LAST:
        return indices
    return indices[:_FIRST] + indices[-_LAST:]


def _words(one: Placed) -> str:
    note = describe(one.record)
    words = "" if note is None else note.text
    return words if len(words) <= _MAX_TEXT else words[:_MAX_TEXT] + " ..."


def _kind(one: Placed) -> Kind:
    event = one.record.get("event")
    if event == "run_started":
        return "resumed" if one.record.get("resumed_from") or one.lineage else "started"
    return _KINDS.get(event, "other") if isinstance(event, str) else "other"
