"""A coordinator whose group trains, and the words of its workers, for tests of its rules."""

from dataclasses import replace
from typing import Any

from cluster.elastic.protocol.coordinator import (
    Action,
    Coordinator,
    Limits,
    Note,
    Publish,
    Start,
    advance,
    reported,
    started,
    wish,
)
from cluster.elastic.protocol.messages import Announcement, Phase, Status

LIMITS = Limits(
    lease_s=2,
    margin_s=0.5,
    start_s=10,
    gather_s=1,
    form_s=5,
    suspect_s=0.5,
    stall_s=20,
    retry_s=30,
)


def says(
    worker: int, phase: Phase, generation: int, *, lineage: int | None = None, **more: Any
) -> Status:
    """Return a status; ``report`` and ``live`` number it."""
    return Status(worker, 0, 0.0, phase, generation, lineage, **{"update": 3, **more})


def report(
    state: Coordinator,
    worker: int,
    phase: Phase,
    generation: int,
    now_s: float,
    lineage: int | None = None,
    **more: Any,
) -> tuple[Coordinator, tuple[Action, ...]]:
    """Have a worker say how it stands."""
    more = {"sequence": int(now_s * 1000), "sent_s": now_s, **more}
    return reported(
        state, replace(says(worker, phase, generation, lineage=lineage), **more), now_s
    )[0]


def live(
    state: Coordinator, since_s: float, until_s: float, *statuses: Status, moving: int | None = None
) -> tuple[Coordinator, tuple[Action, ...]]:
    """Have workers say the same every second; but that the moving one gets something done."""
    actions: tuple[Action, ...] = ()
    now_s = since_s
    while now_s <= until_s:
        for status in statuses:
            status = replace(status, sequence=int(now_s * 1000), sent_s=now_s)
            if status.worker == moving:
                status = replace(status, progress=status.sequence)
            (state, more), _ = reported(state, status, now_s)
            actions += more
        state, more = advance(state, now_s)
        actions += more
        now_s += 1.0
    return state, actions


def group(wanted: int) -> Coordinator:
    """Return a group that trains in generation 0 at time 2."""
    state, actions = wish(Coordinator(LIMITS, 0), wanted, 0.0)
    assert actions == (Start(wanted),)
    for worker in range(1, wanted + 1):
        state, _ = started(state, worker, 0.1)
    for worker in range(1, wanted + 1):
        state, _ = report(state, worker, "ready", -1, 1.0)
    for worker in range(1, wanted + 1):
        state, _ = report(state, worker, "training", 0, 2.0, lineage=0)
    return state


def published(actions: tuple[Action, ...]) -> list[Announcement]:
    """Return the announcements among the actions."""
    return [action.announcement for action in actions if isinstance(action, Publish)]


def notes(actions: tuple[Action, ...]) -> list[str]:
    """Return the texts for the journal among the actions."""
    return [action.text for action in actions if isinstance(action, Note)]
