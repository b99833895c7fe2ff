"""Which records lead to the weights at the end, and where they lie on the axes of a curve.

A resume opens a new lineage at the position of its checkpoint. What the older lineage did beyond
that position is abandoned: its weights are gone, so its curves would run back and forth over the
same samples. The rule: **a record survives if no later lineage starts at fewer samples than it
has.** Lineages are ordered by their first record. Events that did not survive stay in the table of
events, marked; curves show survivors only.

Time is training time along the survivors: a lineage goes on from the second at which its starting
position was first reached, so neither pauses nor abandoned work stretch the axis.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from absa.events import Record
from cluster.views.fields import number


@dataclass(frozen=True, slots=True)
class Placed:
    """A record and where it lies."""

    record: Record
    lineage: int
    """Number of lineages before its own."""
    samples: float
    seconds: float
    survives: bool


@dataclass(frozen=True)
class _Lineage:
    """The records of one lineage in the order of the journal."""

    records: list[Record]

    @property
    def first_samples(self) -> float:
        return next((s for r in self.records if (s := number(r, "samples")) is not None), 0.0)

    @property
    def first_time(self) -> float:
        begun = [r for r in self.records if r.get("event") == "run_started"]
        times = (number(record, "time") for record in begun + self.records)
        return next((time for time in times if time is not None), 0.0)


def place(records: Iterable[Record]) -> list[Placed]:
    """Place every record, lineage after lineage.

    Samples never fall along the survivors of a lineage, seconds never fall along all survivors: a
    clock that was set back, or a missing field, takes the position before it.
    """
    lineages = _lineages(records)
    starts = [lineage.first_samples for lineage in lineages]
    placed: list[Placed] = []
    for index, lineage in enumerate(lineages):
        begin = _reached(placed, starts[index])
        limit = min(starts[index + 1 :], default=float("inf"))
        placed += _place_lineage(lineage, index, begin, limit)
    return placed


def survivors(placed: Sequence[Placed]) -> list[Placed]:
    """Return the records that lead to the weights at the end."""
    return [one for one in placed if one.survives]


def _lineages(records: Iterable[Record]) -> list[_Lineage]:
    found: dict[Hashable, _Lineage] = {}
    for record in records:
        found.setdefault(_name(record.get("lineage")), _Lineage([])).records.append(record)
    return list(found.values())


def _name(lineage: Any) -> Hashable:
    return lineage if isinstance(lineage, Hashable) else str(lineage)


def _reached(placed: Sequence[Placed], samples: float) -> float:
    return max((p.seconds for p in placed if p.survives and p.samples <= samples), default=0.0)


def _place_lineage(
    lineage: _Lineage, index: int, begin_s: float, limit_samples: float
) -> list[Placed]:
    seconds, samples, first_time = begin_s, lineage.first_samples, lineage.first_time
    placed = []
    for record in lineage.records:
        time, position = number(record, "time"), number(record, "samples")
        if time is not None:
            seconds = max(seconds, begin_s + time - first_time)
        if position is not None:
            samples = max(samples, position)
        placed.append(Placed(record, index, samples, seconds, survives=samples <= limit_samples))
    return placed
