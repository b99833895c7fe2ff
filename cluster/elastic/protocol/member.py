"""A member of the worker group: a pure state machine.

The process around it sends its statuses, makes process groups, moves state and trains; what it does
next is decided here. No sockets, no clock, no Ray.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cluster.elastic.protocol.messages import Announcement, Phase, Reply, Status, WorkerId


@dataclass(frozen=True, slots=True)
class Holding:
    """The state that a member has.

    Args:
        lineage: The history of weights it belongs to.
        update: Updates applied.
    """

    lineage: int
    update: int


@dataclass(frozen=True, slots=True)
class Form:
    """Make the process group of a generation and compare who has what; then `formed`."""

    announcement: Announcement


@dataclass(frozen=True, slots=True)
class Abort:
    """Give up every collective of a generation that is under way."""

    generation: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Take part in handing the state of ``source`` to those who lack it; then `settled`."""

    generation: int
    source: WorkerId


@dataclass(frozen=True, slots=True)
class Restore:
    """Load the newest checkpoint, or begin anew; then `settled`."""

    generation: int


@dataclass(frozen=True, slots=True)
class Train:
    """Make updates with the group of a generation until a boundary or an error ends it."""

    generation: int


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process."""

    why: Literal["left", "dismissed"]


Action = Form | Abort | Transfer | Restore | Train | Exit


@dataclass(frozen=True, slots=True)
class Member:
    """What a member knows.

    Args:
        worker: Its id.
        phase: What it is doing.
        generation: The newest generation it has begun to form; -1 before the first.
        announced: The newest announcement it has seen.
        holding: The state it has, or None.
        lease_until_s: Until when it may apply updates without hearing from the coordinator again.
        sequence: Of its last status.
        blames: Whom it failed to reach in that generation, or None.
    """

    worker: WorkerId
    phase: Phase = "warming"
    generation: int = -1
    announced: Announcement | None = None
    holding: Holding | None = None
    lease_until_s: float = float("-inf")
    sequence: int = 0
    blames: WorkerId | None = None


Step = tuple[Member, tuple[Action, ...]]


def status(member: Member, now_s: float, progress: int, *, waits: bool) -> tuple[Member, Status]:
    """Return the member's next status.

    Args:
        member: The member.
        now_s: Its clock.
        progress: Of its main thread, see `Status`.
        waits: Whether its main thread is in a collective, to wait for its peers.
    """
    member = replace(member, sequence=member.sequence + 1)
    held = member.holding
    return member, Status(
        member.worker,
        member.sequence,
        now_s,
        member.phase,
        member.generation,
        None if held is None else held.lineage,
        0 if held is None else held.update,
        progress,
        waits,
        member.blames,
    )


def may_apply(member: Member, generation: int, now_s: float) -> bool:
    """Return whether an update of a generation may change the weights now.

    Without a lease a lone worker that was stopped, taken for dead and replaced would go on beside
    its successor: its collectives need nobody's consent.
    """
    in_force = member.phase == "training" and member.generation == generation
    return in_force and now_s < member.lease_until_s


def cut_off(member: Member) -> Member:
    """Its connection to the coordinator has ended: no update is applied until it is heard again.

    The coordinator gives its place away as soon as it sees the same (`hung_up`).
    """
    return replace(member, lease_until_s=float("-inf"))


def warmed_up(member: Member) -> Step:
    """The newcomer can join."""
    if member.phase != "warming":
        return member, ()
    return _catch_up(replace(member, phase="ready"))


def replied(member: Member, reply: Reply, lease_s: float) -> Step:
    """The coordinator answered a status."""
    if member.phase == "gone":
        return member, ()
    if reply.dismissed:
        return _end(member, "dismissed")
    member = replace(member, lease_until_s=max(member.lease_until_s, reply.sent_s + lease_s))
    if reply.announcement is None:
        return member, ()
    return announced(member, reply.announcement)


def announced(member: Member, announcement: Announcement) -> Step:
    """An announcement was seen; an older one than the newest seen means nothing."""
    newest = member.announced
    if member.phase == "gone" or (
        newest is not None and announcement.generation <= newest.generation
    ):
        return member, ()
    member = replace(member, announced=announcement)
    if member.phase == "training" and not announcement.breaks:
        return member, ()  # the boundary is where all members leave together
    if member.phase in ("training", "forming"):
        broken = member.generation
        member, actions = _catch_up(replace(member, phase="waiting"))
        return member, (Abort(broken), *actions)
    return _catch_up(member)


def at_boundary(member: Member, generation: int, *, newer: bool) -> Step:
    """An update of a generation was applied.

    Args:
        member: The member.
        generation: The generation of the update.
        newer: Whether any rank knew of a newer generation: the ranks agree on it with the
            gradients, so that all of them leave at this boundary, or none.
    """
    if member.phase != "training" or member.generation != generation or member.holding is None:
        return member, ()
    holding = replace(member.holding, update=member.holding.update + 1)
    member = replace(member, holding=holding)
    return _catch_up(replace(member, phase="waiting")) if newer else (member, ())


def failed(member: Member, generation: int, blames: WorkerId | None = None) -> Step:
    """A collective of a generation failed: the update, the process group or the transfer.

    Args:
        member: The member.
        generation: Of the collective.
        blames: Whom it could not reach, or None if that is not known for certain.
    """
    if member.generation != generation or member.phase not in ("training", "forming"):
        return member, ()
    return _catch_up(replace(member, phase="waiting", blames=blames))


def formed(member: Member, generation: int, holdings: Mapping[WorkerId, Holding | None]) -> Step:
    """The process group of a generation stands, and everybody knows what everybody has.

    The source is the member furthest ahead, so that an update which some members applied and some
    did not is either kept by all or was held by nobody who lives.
    """
    announcement = member.announced
    if member.phase != "forming" or announcement is None or member.generation != generation:
        return member, ()
    if announcement.restores:
        return member, (Restore(generation),)
    able = [
        worker
        for worker in announcement.members
        if (held := holdings[worker]) is not None and held.lineage == announcement.lineage
    ]
    if not able:
        # Whoever had the state died on the way; the coordinator sees it in our status.
        return _catch_up(replace(member, phase="waiting", holding=None))
    source = max(able, key=lambda worker: _update(holdings[worker]))
    return member, (Transfer(generation, source),)


def settled(member: Member, generation: int, holding: Holding) -> Step:
    """The member has the state with which its generation trains."""
    if member.phase != "forming" or member.generation != generation:
        return member, ()
    return replace(member, phase="training", holding=holding), (Train(generation),)


def _catch_up(member: Member) -> Step:
    """Follow the newest announcement, if it is newer than what the member has begun to form."""
    newest = member.announced
    if member.phase not in ("ready", "waiting") or newest is None:
        return member, ()
    if newest.generation <= member.generation:
        return member, ()
    if member.worker in newest.members:
        member = replace(member, phase="forming", generation=newest.generation, blames=None)
        return member, (Form(newest),)
    return (member, ()) if member.phase == "ready" else _end(member, "left")


def _end(member: Member, why: Literal["left", "dismissed"]) -> Step:
    return replace(member, phase="gone"), (Exit(why),)


def _update(holding: Holding | None) -> int:
    return -1 if holding is None else holding.update
