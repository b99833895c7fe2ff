"""How the gradients of an update's parts come to be seen: as it is cut, in halves, by a probe."""

from dataclasses import dataclass
from typing import Literal

from absa.update.cut import Pass

Method = Literal["units", "halves", "probe"]
"""units: the update has several passes, over all ranks, whose gradients are seen on the way.
halves: its only pass is cut in two. probe: it is a single batch-norm group or sample, which cannot
be cut; the gradient of other samples is computed beside it, at the cost of another update."""

Shares = tuple[tuple[Pass, ...], ...]
"""For each rank its passes, as from `absa.update.cut.cut_update`."""


@dataclass(frozen=True)
class Plan:
    """How a measured update is made.

    Args:
        shares: For each rank its passes: the same samples and batch-norm groups as without
            measuring.
        probe: Position in the epoch of as many other samples, whose gradient is to be compared with
            the update's; None for no probe.
        measured: False if there is nothing to compare with.
    """

    shares: Shares
    probe: int | None
    measured: bool


def method(shares: Shares, bn_group: int | None) -> Method:
    """Return how an update that is cut like this can be measured.

    Args:
        shares: For each rank its passes.
        bn_group: As the update was cut with.
    """
    passes = [each for share in shares for each in share]
    if len(passes) > 1:
        return "units"
    return "halves" if _num_parts(passes[0], bn_group) > 1 else "probe"


def plan(shares: Shares, bn_group: int | None, positions: tuple[int, int], num_train: int) -> Plan:
    """Return how to measure an update.

    Args:
        shares: For each rank its passes, if it is not measured.
        bn_group: As it was cut with.
        positions: Its first one in the epoch, and the one after its last.
        num_train: Samples of an epoch.
    """
    way = method(shares, bn_group)
    if way == "units":
        return Plan(shares, None, measured=True)
    if way == "halves":
        ((whole,), *others) = shares
        return Plan((_halves(whole, bn_group), *others), None, measured=True)
    probe = probe_position(*positions, num_train)
    return Plan(shares, probe, measured=probe is not None)


def probe_position(start: int, stop: int, num_train: int) -> int | None:
    """Return where in its epoch the samples of a probe begin, or None if there is no room.

    Like those of the update they should not have been trained on in this epoch, so they lie ahead
    of it: in the middle of what is left, far from those of the updates that follow it. At the end
    of an epoch they are its first.

    Args:
        start: Position of the update's first sample.
        stop: The position after its last one.
        num_train: Samples of an epoch.
    """
    num_samples = stop - start
    room = num_train - stop - num_samples
    if room >= 0:
        return stop + room // 2
    return 0 if num_samples <= start else None


def _num_parts(whole: Pass, bn_group: int | None) -> int:
    return whole.size if bn_group is None else whole.num_groups


def _halves(whole: Pass, bn_group: int | None) -> tuple[Pass, Pass]:
    """Cut a pass between its groups or, where nothing couples them, its samples."""
    first = -(-_num_parts(whole, bn_group) // 2)
    if bn_group is None:
        return Pass(whole.start, 1, first), Pass(whole.start + first, 1, whole.size - first)
    size = whole.group_size
    return (
        Pass(whole.start, first, size),
        Pass(whole.start + first * size, whole.num_groups - first, size),
    )
