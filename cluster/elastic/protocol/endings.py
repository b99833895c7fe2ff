"""Who is ended, and when: the silent, those whose main thread hangs, the unreachable.

Nobody is ended for the fault of another as long as the culprit can be told.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from cluster.elastic.protocol.generations import is_beyond_repair
from cluster.elastic.protocol.knowledge import Action, Coordinator, Kill, Note, Step, Worker
from cluster.elastic.protocol.losses import give_up, kill, strike_out
from cluster.elastic.protocol.messages import WorkerId
from cluster.elastic.protocol.questions import (
    all_train,
    is_newcomer,
    living_members,
    newcomers,
    num_updates,
    status_of,
)


def end_the_silent(state: Coordinator, now_s: float) -> Step:
    """End whoever was not heard of for a lease and its margin."""
    patience_s = state.limits.lease_s + state.limits.margin_s
    silent = [id_ for id_, w in state.workers.items() if now_s >= w.heard_s + patience_s]
    return kill(state, silent, "was not heard of") if silent else (state, ())


def end_the_stuck(state: Coordinator, now_s: float) -> Step:
    """End whoever goes on to report but does not follow, or gets nothing done and waits not."""
    stuck = [
        id_
        for id_, worker in state.workers.items()
        if (since_s := _stuck_s(state, id_, worker)) is not None and now_s >= since_s
    ]
    return kill(state, stuck, "did not follow, or got nothing done") if stuck else (state, ())


def drop_surplus_newcomers(state: Coordinator, now_s: float) -> Step:
    """End newcomers for whom there is no room, those that are ready last."""
    if len(state.workers) <= state.wanted:
        return state, ()
    surplus = newcomers(state)[max(state.wanted - len(living_members(state)), 0) :]
    actions: list[Action] = []
    for worker in surplus:
        state = strike_out(state, worker)
        actions += [Note(f"worker {worker} is not wanted any more: it is ended"), Kill(worker)]
    return state, tuple(actions)


def drop_the_unreachable(state: Coordinator, now_s: float) -> Step:
    """End a member when generations break again and again though everybody is heard.

    Two workers that do not hear each other cannot be told from outside, so whoever is at most ends
    of links that are said to fail goes, else the youngest; never the one furthest ahead.
    """
    newest = state.announcement
    if newest is None or state.num_broken + 1 < state.limits.patience:
        return state, ()
    members = living_members(state)
    if not 2 <= len(members) == len(newest.members) or not is_beyond_repair(state, now_s):
        return state, ()
    votes: Counter[WorkerId] = Counter()
    for id_ in members:
        status = status_of(state, id_)
        if status is not None and status.blames is not None:
            votes.update((id_, status.blames))  # either end may be at fault
    furthest = max(members, key=lambda id_: (num_updates(state, id_), -votes[id_]))
    others = [id_ for id_ in members if id_ != furthest]
    worker = max(others, key=lambda id_: (votes[id_], members.index(id_)))
    why = f"was dropped, as {state.limits.patience} generations in a row broke without a death"
    state, actions = kill(state, [worker], why)
    # Until an update shows that it was the right one, the next goes as soon as it breaks again.
    return give_up(replace(state, num_broken=state.limits.patience - 1), now_s), actions


def deadlines(state: Coordinator) -> Iterator[float]:
    """Yield when a worker may have to be ended."""
    patience_s = state.limits.lease_s + state.limits.margin_s
    for id_, worker in state.workers.items():
        yield worker.heard_s + patience_s
        stuck_s = _stuck_s(state, id_, worker)
        if stuck_s is not None:
            yield stuck_s


def _stuck_s(state: Coordinator, worker_id: WorkerId, worker: Worker) -> float | None:
    """Return when it will be certain that a worker hangs, or None if it need not do anything."""
    newest, status, limits = state.announcement, worker.status, state.limits
    if newest is None or status is None or is_newcomer(state, worker_id):
        return None
    behind = status.generation < newest.generation
    if behind and status.phase != "training":
        return max(worker.moved_s, state.announced_s) + limits.form_s
    if behind and newest.breaks:
        return state.announced_s + limits.form_s
    if status.phase == "waiting":
        return None
    left_alone = behind and all_train(state)  # the others have left the collective it waits in
    return worker.moved_s + limits.stall_s if left_alone or not status.waits else None
