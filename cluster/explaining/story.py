"""What a journal tells of the decisions of a run: changes, and between them why nothing changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cluster.explaining.decided import Said, said
from cluster.explaining.kept import Reason, summarised
from cluster.report.history import Placed
from cluster.views.note import describe

_SHOWN = ("settings", "resize", "fault", "warning", "run_ended")
"""What is told beside decisions: whatever bears on them."""


@dataclass(frozen=True)
class Change:
    """A decision that changed something."""

    said: Said


@dataclass(frozen=True)
class Kept:
    """Decisions in a row that kept the batch; the learning rate may have followed a signal.

    Args:
        first: Samples at the first of them.
        last: Samples at the last.
        reasons: Why those that changed nothing did not.
        rates: What the learning rate was multiplied with before and after each time it followed.
    """

    first: float
    last: float
    reasons: tuple[Reason, ...]
    rates: tuple[tuple[float, float], ...] = ()

    @property
    def count(self) -> int:
        """How many changed nothing."""
        return sum(reason.count for reason in self.reasons)


@dataclass(frozen=True)
class Happened:
    """What else happened.

    Args:
        at: When.
        text: In one line.
    """

    at: Placed
    text: str


Chapter = Change | Kept | Happened


def tell(placed: Sequence[Placed]) -> list[Chapter]:
    """Return what there is to tell of a run, in order.

    Args:
        placed: All records; those that a resume has abandoned are counted and not told.
    """
    return list(_joined(_told(placed)))


def _told(placed: Sequence[Placed]) -> Iterator[Said | Happened]:
    for index, one in enumerate(placed):
        event = one.record.get("event")
        if not one.survives:
            continue
        if event == "decision":
            yield said(one)
        elif event == "run_started" and one.lineage:
            yield Happened(one, _resumed(placed[:index], one))
        elif event in _SHOWN:
            note = describe(one.record)
            if note is not None:
                yield Happened(one, note.text)


def _resumed(before: Sequence[Placed], one: Placed) -> str:
    since = one.lineage - 1
    lost = [
        other
        for other in before
        if other.lineage == since and not other.survives and other.record.get("event") == "decision"
    ]
    name = one.record.get("resumed_from")
    words = f"resumed from {name}" if isinstance(name, str) else "resumed"
    policy = one.record.get("policy")
    words += f" with policy {policy}" if isinstance(policy, str) else ""
    many = "decision" if len(lost) == 1 else "decisions"
    return words + (f"; {len(lost)} {many} made after that were given up" if lost else "")


def _joined(told: Iterator[Said | Happened]) -> Iterator[Chapter]:
    kept: list[Said] = []
    for one in told:
        if isinstance(one, Said) and (one.moves_rate_alone or not one.changes):
            kept.append(one)
            continue
        yield from _kept(kept)
        kept = []
        yield Change(one) if isinstance(one, Said) else one
    yield from _kept(kept)


def _kept(kept: Sequence[Said]) -> Iterator[Kept]:
    if kept:
        reasons = summarised(one.reason or one.rule for one in kept if not one.changes)
        rates = [one.lr_scale for one in kept if one.changes and one.lr_scale is not None]
        yield Kept(kept[0].samples, kept[-1].samples, tuple(reasons), tuple(rates))
