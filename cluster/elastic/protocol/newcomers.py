"""How many workers are asked for, how long they are waited for, and what if they do not come."""

from collections.abc import Iterator
from dataclasses import replace

from cluster.elastic.protocol.knowledge import Coordinator, Note, Start, Step, Worker
from cluster.elastic.protocol.losses import give_up, kill
from cluster.elastic.protocol.messages import WorkerId
from cluster.elastic.protocol.questions import (
    all_train,
    is_leaving,
    is_newcomer,
    is_ready,
    living_members,
    ready_newcomers,
)


def give_up_the_late(state: Coordinator, now_s: float) -> Step:
    """Do for a while without those who were not ready in time."""
    start_s = state.limits.start_s
    late = [
        id_
        for id_, worker in state.workers.items()
        if _is_expected(state, id_, worker) and now_s >= worker.since_s + start_s
    ]
    never_came = state.num_starting if now_s >= state.asked_s + start_s else 0
    if not late and not never_came:
        return state, ()
    state, actions = kill(state, late, "was not ready in time")
    state = replace(state, num_starting=state.num_starting - never_came, num_lost=0)
    num = len(late) + never_came
    what = f"{num} of {state.wanted} wanted workers did not come within {start_s:g} s"
    state, notes = _do_without(state, num, what, now_s)
    return state, (*actions, *notes)


def give_up_the_unlucky(state: Coordinator, now_s: float) -> Step:
    """Do for a while without newcomers if one after the other is lost while it warms up."""
    num = state.num_lost
    if num < state.limits.patience:
        return state, ()
    what = f"{num} newcomers in a row were lost before they could join"
    return _do_without(replace(state, num_lost=0), num, what, now_s)


def ask(state: Coordinator, now_s: float) -> Step:
    """Ask for as many workers as are missing."""
    if state.retry_s is not None and (now_s >= state.retry_s or not _can_do_without(state)):
        state = replace(state, retry_s=None)
    staying = sum(not is_leaving(state, id_) for id_ in state.workers)
    missing = state.wanted - staying - state.num_starting
    if missing < 0 < state.num_starting:
        return replace(state, num_starting=max(state.num_starting + missing, 0)), ()
    if missing <= 0 or state.retry_s is not None:
        return state, ()
    state = replace(state, num_starting=state.num_starting + missing, asked_s=now_s)
    return state, (Start(missing),)


def gathered(state: Coordinator, now_s: float) -> bool:
    """Return whether those who are ready need not wait for others, where some train."""
    expected = any(_is_expected(state, id_, worker) for id_, worker in state.workers.items())
    if not expected and state.num_starting == 0:
        return True
    return now_s >= _ready_since_s(state) + state.limits.gather_s


def may_begin(state: Coordinator, now_s: float) -> bool:
    """Return whether those who are ready need not wait for others, where nobody has the state."""
    num_ready = len(ready_newcomers(state))
    if num_ready >= state.wanted:
        return True
    if not _are_enough(state, num_ready):
        return False
    return state.retry_s is not None or now_s >= _ready_since_s(state) + state.limits.start_s


def deadlines(state: Coordinator) -> Iterator[float]:
    """Yield when newcomers need not be waited for any longer, and when they are asked for."""
    limits = state.limits
    if state.num_starting:
        yield state.asked_s + limits.start_s
    if state.retry_s is not None:
        yield state.retry_s
    fresh = [worker for id_, worker in state.workers.items() if is_newcomer(state, id_)]
    for worker in fresh:
        if not is_ready(worker):
            yield worker.since_s + limits.start_s
    num_ready = sum(map(is_ready, fresh))
    if num_ready and all_train(state) and not state.num_broken:
        yield _ready_since_s(state) + limits.gather_s
    elif num_ready and not living_members(state) and _are_enough(state, num_ready):
        yield _ready_since_s(state) + limits.start_s


def _do_without(state: Coordinator, num: int, what: str, now_s: float) -> Step:
    """Go on without newcomers for a while if that is possible; say so once."""
    when = "at once"
    if _can_do_without(state):
        state = give_up(state, now_s)
        when = f"in {state.retry_s - now_s:g} s" if state.retry_s is not None else when
    has_begun = state.workers or state.announcement is not None
    if num == state.num_noted or not has_begun:
        return state, ()  # who waits for the very first worker says so when it takes too long
    note = Note(f"{what}; they are asked for again {when}")
    return replace(state, num_noted=num), (note,)


def _can_do_without(state: Coordinator) -> bool:
    return bool(living_members(state)) or _are_enough(state, len(ready_newcomers(state)))


def _are_enough(state: Coordinator, num_ready: int) -> bool:
    return num_ready >= max(min(state.least, state.wanted), 1)


def _is_expected(state: Coordinator, worker_id: WorkerId, worker: Worker) -> bool:
    """Whether a newcomer has yet to be ready."""
    return not is_ready(worker) and is_newcomer(state, worker_id)


def _ready_since_s(state: Coordinator) -> float:
    """Return when the newcomer that has waited longest became ready."""
    times = (
        w.ready_s
        for id_, w in state.workers.items()
        if w.ready_s is not None and is_newcomer(state, id_)
    )
    return min(times, default=float("inf"))
