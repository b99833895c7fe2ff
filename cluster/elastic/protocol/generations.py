"""When a generation is over, and who is in the next one."""

from collections.abc import Iterator
from dataclasses import replace

from cluster.elastic.protocol.knowledge import Coordinator, Publish, Step
from cluster.elastic.protocol.messages import Announcement, WorkerId
from cluster.elastic.protocol.newcomers import gathered, may_begin
from cluster.elastic.protocol.questions import (
    all_train,
    has_state,
    is_leaving,
    is_newcomer,
    living_members,
    members_are_known,
    ready_newcomers,
    status_of,
)


def note_broken(state: Coordinator, now_s: float) -> Step:
    """Keep since when the newest generation is known to be broken."""
    newest = state.announcement
    if newest is None:
        return state, ()
    broken = any(
        (s := status_of(state, id_)) is not None
        and s.phase == "waiting"
        and s.generation == newest.generation
        for id_ in newest.members
    ) or (state.lost_leaver and not all_train(state))
    if broken == (state.broken_s is not None):
        return state, ()
    return replace(state, broken_s=now_s if broken else None), ()


def announce(state: Coordinator, now_s: float) -> Step:
    """Announce the next generation if the newest is broken, or if it is whole and has to change."""
    newest = state.announcement
    if not members_are_known(state):
        return state, ()
    beyond_repair = newest is not None and is_beyond_repair(state, now_s)
    members = living_members(state)
    if beyond_repair:  # one that was to leave has the state: it is worth more than a newcomer
        leavers = [id_ for id_ in state.workers if is_leaving(state, id_)]
        members += [id_ for id_ in leavers if has_state(state, id_)]
    members = members[: state.wanted]
    joining = ready_newcomers(state)[: state.wanted - len(members)]
    if not members:
        begins = bool(joining) and may_begin(state, now_s)
        return _publish(state, joining, now_s, breaks=beyond_repair) if begins else (state, ())
    if state.num_broken:
        joining = []  # who cannot be reached must be found before others are drawn into it
    if beyond_repair:
        return _publish(state, [*members, *joining], now_s, breaks=True)
    assert newest is not None
    if not all_train(state):
        return state, ()
    if joining and not gathered(state, now_s):
        joining = []
    if joining or len(members) < len(newest.members):
        return _publish(state, [*members, *joining], now_s, breaks=False)
    return state, ()


def is_beyond_repair(state: Coordinator, now_s: float) -> bool:
    """Return whether the newest generation cannot go on."""
    assert state.announcement is not None
    if len(living_members(state)) < len(state.announcement.members):
        return True
    return any(now_s >= time_s for time_s in _over_s(state))


def deadlines(state: Coordinator) -> Iterator[float]:
    """Yield when the newest generation will be beyond repair."""
    if state.announcement is not None and members_are_known(state) and living_members(state):
        yield from _over_s(state)


def _over_s(state: Coordinator) -> Iterator[float]:
    """Yield when it is given up though all its members live."""
    if state.broken_s is not None:
        yield state.broken_s + state.limits.suspect_s * 2 ** min(state.num_broken, 6)
    deadlock_s = _deadlock_s(state)
    if deadlock_s is not None:
        yield deadlock_s


def _deadlock_s(state: Coordinator) -> float | None:
    """Return when it will be certain that everybody waits for everybody, or None."""
    last_s, limit_s = state.announced_s, state.limits.stall_s
    for worker in state.workers.values():
        status = worker.status
        if status is None or status.generation < 0:
            continue
        if not status.waits or status.phase not in ("forming", "training"):
            return None
        last_s = max(last_s, worker.moved_s)
        if status.phase == "forming":
            limit_s = state.limits.form_s
    return last_s + limit_s


def _publish(state: Coordinator, members: list[WorkerId], now_s: float, *, breaks: bool) -> Step:
    newest = state.announcement
    generation = 0 if newest is None else newest.generation + 1
    lineage = 0 if newest is None else newest.lineage
    restores = not any(has_state(state, id_) for id_ in members)
    if restores and newest is not None:
        lineage += 1
    announcement = Announcement(generation, lineage, tuple(members), restores, breaks)
    joins = any(is_newcomer(state, id_) for id_ in members)
    nobody_lost = newest is not None and len(living_members(state)) == len(newest.members)
    state = replace(
        state,
        announcement=announcement,
        announced_s=now_s,
        broken_s=None,
        lost_leaver=False,
        num_broken=state.num_broken + (breaks and nobody_lost),
        num_lost=0 if joins else state.num_lost,
    )
    return state, (Publish(announcement),)
