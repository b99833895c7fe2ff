"""The coordinator of the worker group: a pure state machine.

It knows how many workers are wanted and how each one stands, and announces generations. It runs
where the job is controlled, outlives every worker, and is the only one that numbers generations.
No sockets, no clock, no Ray. Here are the events; what is done about them is told by rules in
`endings`, `generations` and `newcomers`.
"""

from dataclasses import replace

from absa.errors import ResizeError
from cluster.elastic.protocol import endings, generations, newcomers
from cluster.elastic.protocol.endings import (
    drop_surplus_newcomers,
    drop_the_unreachable,
    end_the_silent,
    end_the_stuck,
)
from cluster.elastic.protocol.generations import announce, note_broken
from cluster.elastic.protocol.knowledge import (
    Action,
    Coordinator,
    Kill,
    Limits,
    Note,
    Publish,
    Start,
    Step,
    Worker,
)
from cluster.elastic.protocol.losses import kill, lose, strike_out
from cluster.elastic.protocol.messages import Announcement, Reply, Status, WorkerId
from cluster.elastic.protocol.newcomers import ask, give_up_the_late, give_up_the_unlucky

__all__ = [
    "Action",
    "Coordinator",
    "Kill",
    "Limits",
    "Note",
    "Publish",
    "Start",
    "Step",
    "Worker",
    "advance",
    "died",
    "hung_up",
    "left",
    "next_deadline_s",
    "reported",
    "restarted",
    "started",
    "wish",
]


def wish(state: Coordinator, wanted: int, now_s: float) -> Step:
    """Somebody wants another number of workers.

    Raises:
        ResizeError: The number is below 1: without a worker nobody would have the state.
    """
    if wanted < 1:
        raise ResizeError(f"{wanted} workers were wanted; at least 1 must stay to keep the state")
    return advance(_hopeful(replace(state, wanted=wanted)), now_s)


def started(state: Coordinator, worker: WorkerId, now_s: float) -> Step:
    """A worker that was asked for has a process."""
    state = replace(state, num_starting=max(state.num_starting - 1, 0))
    # News of its end, or its own first words, may have been faster.
    if worker not in state.ended and worker not in state.workers:
        state = _with(state, worker, Worker(now_s, now_s, now_s))
    return advance(state, now_s)


def reported(state: Coordinator, status: Status, now_s: float) -> tuple[Step, Reply]:
    """A worker says how it stands."""
    known = state.workers.get(status.worker)
    if known is None and status.generation < 0 and status.worker not in state.ended:
        known = Worker(now_s, now_s, now_s)  # started by a coordinator that was lost
    if known is None:
        return (state, ()), Reply(status.sent_s, state.announcement, dismissed=True)
    sent_s, before = status.sent_s, known.status
    if before is not None and status.sequence <= before.sequence:
        status = before  # it was overtaken by a newer one
    trusting = _trusting(state, before, status)
    news = before is None or _place(before) != _place(status) or trusting is not state
    state = _with(trusting, status.worker, _heard(known, status, now_s))
    if status.phase == "gone":
        state = strike_out(state, status.worker)
    actions: tuple[Action, ...] = ()
    if news:
        state, actions = advance(state, now_s)
    dismissed = status.worker not in state.workers
    return (state, actions), Reply(sent_s, state.announcement, dismissed)


def died(state: Coordinator, worker: WorkerId, now_s: float) -> Step:
    """A worker's process was lost."""
    if worker not in state.workers:
        return strike_out(state, worker), ()
    return advance(lose(state, worker), now_s)


def hung_up(state: Coordinator, worker: WorkerId, now_s: float) -> Step:
    """A worker's connection has ended; who said farewell before is no loss.

    Its process is most likely dead, so its peers go on at once. If it lives it must not: it is
    ended, and knows from `cut_off` that it may apply nothing. Nothing that it says over a newer
    connection may be told before this.
    """
    if worker not in state.workers:
        return state, ()
    state, actions = kill(state, [worker], "was lost")
    state, more = advance(state, now_s)
    return state, (*actions, *more)


def left(state: Coordinator, worker: WorkerId, now_s: float) -> Step:
    """A worker's process has ended by itself, as it was told: nobody waits for it."""
    return advance(strike_out(state, worker), now_s)


def restarted(
    limits: Limits, wanted: int, least: int, announcement: Announcement | None, now_s: float
) -> Coordinator:
    """Return a new coordinator that follows one that was lost.

    Args:
        limits: How long it waits for what.
        wanted: Workers that there should be.
        least: See `Coordinator`.
        announcement: The newest that was stored.
        now_s: From when on its members are waited for; who lives will say so.
    """
    members = () if announcement is None else announcement.members
    workers = {worker: Worker(now_s, now_s, now_s) for worker in members}
    return Coordinator(limits, wanted, least, announcement, now_s, workers)


def advance(state: Coordinator, now_s: float) -> Step:
    """Do whatever is due; call it at `next_deadline_s` at the latest."""
    actions: list[Action] = []
    for rule in (
        end_the_silent,
        end_the_stuck,
        give_up_the_late,
        give_up_the_unlucky,
        drop_surplus_newcomers,
        note_broken,
        drop_the_unreachable,
        announce,
        ask,
    ):
        state, more = rule(state, now_s)
        actions += more
    return state, tuple(actions)


def next_deadline_s(state: Coordinator) -> float | None:
    """Return when `advance` must be called at the latest, or None."""
    times = [
        *endings.deadlines(state),
        *generations.deadlines(state),
        *newcomers.deadlines(state),
    ]
    return min(times, default=None)


def _heard(known: Worker, status: Status, now_s: float) -> Worker:
    """Return what is known of a worker once it has said how it stands."""
    before, ready_s, moved_s = known.status, known.ready_s, known.moved_s
    if ready_s is None and status.phase == "ready":
        ready_s = now_s
    if before is None or (
        (before.progress, before.waits, before.update, *_place(before))
        != (status.progress, status.waits, status.update, *_place(status))
    ):
        moved_s = now_s
    return Worker(known.since_s, now_s, moved_s, ready_s, status)


def _place(status: Status) -> tuple[object, ...]:
    """Return what decides on the next generation; the rest only decides how long to wait."""
    return status.phase, status.generation, status.lineage, status.blames


def _trusting(state: Coordinator, before: Status | None, status: Status) -> Coordinator:
    """Forget troubles if an update was applied in the newest generation: it works.

    Those with newcomers only if it has all that are wanted.
    """
    newest = state.announcement
    if newest is None or before is None or before.phase != "training":
        return state
    same = before.generation == status.generation == newest.generation
    if not same or status.update <= before.update:
        return state
    if state.num_broken:
        state = replace(state, num_broken=0)
    return _hopeful(state) if len(newest.members) >= state.wanted else state


def _hopeful(state: Coordinator) -> Coordinator:
    """Forget what went wrong with newcomers."""
    if state.retry_s is None and not (state.num_lost or state.num_setbacks or state.num_noted):
        return state
    return replace(state, retry_s=None, num_lost=0, num_setbacks=0, num_noted=0)


def _with(state: Coordinator, worker: WorkerId, known: Worker) -> Coordinator:
    return replace(state, workers={**state.workers, worker: known})
