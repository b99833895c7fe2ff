"""What happened in a run beside its curves: rows of the events table and marks on the curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cluster.report.history import Placed
from cluster.views.note import describe

Kind = Literal["started", "resumed", "settings", "checkpoint", "skipped", "fault", "ended", "other"]

MARKED: tuple[Kind, ...] = ("settings", "skipped", "fault", "resumed")
"""Kinds that stand on the curves as a vertical line."""

_KINDS: dict[str, Kind] = {
    "settings": "settings",
    "checkpoint": "checkpoint",
    "update_skipped": "skipped",
    "fault": "fault",
    "run_ended": "ended",
}
_NO_ROW = ("observation", "evaluation", "phase", "run_folder")
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
    rows = [row for one in placed for row in _row(one)]
    by_kind: dict[Kind, list[int]] = {}
    for index, row in enumerate(rows):
        by_kind.setdefault(row.kind, []).append(index)
    kept = sorted(i for indices in by_kind.values() for i in _ends(indices))
    return [rows[i] for i in kept], len(rows) - len(kept)


def _ends(indices: list[int]) -> list[int]:
    if len(indices) <= _FIRST + _LAST:
        return indices
    return indices[:_FIRST] + indices[-_LAST:]


def _row(one: Placed) -> list[Happening]:
    event = one.record.get("event")
    note = None if event in _NO_ROW else describe(one.record)
    if note is None:
        return []
    text = note.text if len(note.text) <= _MAX_TEXT else note.text[:_MAX_TEXT] + " ..."
    return [Happening(_kind(event, one), text, one)]


def _kind(event: object, one: Placed) -> Kind:
    if event == "run_started":
        return "resumed" if one.record.get("resumed_from") or one.lineage else "started"
    return _KINDS.get(event, "other") if isinstance(event, str) else "other"
