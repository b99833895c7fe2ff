"""The points at which a run decided, with all that was known at each: read from its journal.

Only what leads to the weights at the end counts; what a resume has abandoned does not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from absa.boundary import Command
from absa.events import Record
from absa.policy.standpoint import Heard
from cluster.replaying.signals import curvature_of, noise_of
from cluster.report.history import Placed
from cluster.views.fields import mapping, number


@dataclass(frozen=True)
class Order:
    """What an operator has set.

    Args:
        samples: Samples consumed when it was put in force.
        command: What was asked for.
    """

    samples: int
    command: Command


@dataclass(frozen=True)
class Moment:
    """A point at which was decided.

    Args:
        samples: Samples consumed then.
        update: Updates applied then, as far as recorded.
        heard: The signals as they were known.
        orders: What an operator has set since the moment before.
        said: The record of the decision; None where none was recorded.
        dropped: Whether it came to nothing.
    """

    samples: int
    update: int
    heard: Heard
    orders: tuple[Order, ...] = ()
    said: Record | None = None
    dropped: bool = False


def read_moments(survivors: Sequence[Placed], confidence: float) -> list[Moment]:
    """Return the points at which a run decided, in order.

    A journal without decisions, of an older version, gives those at which one would have been made:
    where something was observed or measured.

    Args:
        survivors: The records that lead to the weights at the end.
        confidence: Of the recorded intervals of the noise scale.
    """
    decisions = _decisions(survivors)
    points = decisions or _where_something_was_seen(survivors)
    listener = _Listener(survivors, confidence)
    return [listener.moment(point) for point in points]


@dataclass(frozen=True)
class _Point:
    """Where was decided, and between which records.

    ``index`` is that of the first record that was certainly made later.
    """

    samples: int
    index: int
    said: Record | None
    dropped: bool = False


def _decisions(survivors: Sequence[Placed]) -> list[_Point]:
    points: dict[int, _Point] = {}
    for index, one in enumerate(survivors):
        if one.record.get("event") != "decision":
            continue
        at = number(one.record, "decided_at")
        if at is None:
            continue
        samples, dropped = int(at), one.record.get("rule") == "dropped"
        known = points.get(samples)
        if known is not None:
            points[samples] = replace(known, dropped=known.dropped or dropped)
        else:
            points[samples] = _Point(samples, index, None if dropped else one.record, dropped)
    return [points[samples] for samples in sorted(points)]


def _where_something_was_seen(survivors: Sequence[Placed]) -> list[_Point]:
    last = {
        int(one.samples): index
        for index, one in enumerate(survivors)
        if one.record.get("event") in ("observation", "curvature")
    }
    return [_Point(samples, last[samples] + 1, None) for samples in sorted(last)]


class _Listener:
    """Goes through the records once and says what was known at each point.

    Args:
        survivors: The records.
        confidence: Of the intervals of the noise scale.
    """

    def __init__(self, survivors: Sequence[Placed], confidence: float) -> None:
        self._survivors, self._confidence = survivors, confidence
        self._next, self._update, self._heard = 0, 0, Heard()
        self._orders: list[Order] = []

    def moment(self, point: _Point) -> Moment:
        """Return what was known at a point, which is not before the last one."""
        for one in self._until(point):
            self._take(one)
        orders, self._orders = tuple(self._orders), []
        return Moment(point.samples, self._update, self._heard, orders, point.said, point.dropped)

    def _until(self, point: _Point) -> Iterator[Placed]:
        while self._next < point.index:
            one = self._survivors[self._next]
            # A decision that changes something is recorded an update later. A process that goes on
            # from a checkpoint decides after its first update at the earliest.
            begins = one.record.get("event") == "run_started"
            if one.samples > point.samples or (begins and one.samples == point.samples):
                return
            self._next += 1
            yield one

    def _take(self, one: Placed) -> None:
        record, samples = one.record, int(one.samples)
        self._update = int(number(record, "update") or self._update)
        match record.get("event"):
            case "run_started":
                # What the last observation said is no part of a checkpoint.
                self._heard = replace(self._heard, loss=None, noise=None)
            case "observation":
                noise = noise_of(record, self._confidence) or self._heard.noise
                self._heard = replace(self._heard, loss=number(record, "loss"), noise=noise)
            case "curvature":
                found = curvature_of(record)
                if found is not None:
                    self._heard = replace(self._heard, curvature=found, curvature_at=samples)
            case "settings":
                self._orders.append(Order(samples, _command(record)))


def _command(record: Record) -> Command:
    changed = mapping(record, "changed")
    hold = _new(changed, "hold")
    return Command(
        "",
        global_batch=_batch(changed, "global_batch"),
        micro_batch=_batch(changed, "micro_batch"),
        max_batch=_batch(changed, "max_batch"),
        hold=hold if isinstance(hold, bool) else None,
    )


def _batch(changed: Mapping[str, Any], name: str) -> int | None:
    value = _new(changed, name)
    return value if type(value) is int and value >= 1 else None


def _new(changed: Mapping[str, Any], name: str) -> object:
    pair = changed.get(name)
    return pair[1] if isinstance(pair, list | tuple) and len(pair) == 2 else None
