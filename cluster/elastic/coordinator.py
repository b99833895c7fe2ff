"""The coordinator of the worker group: a pure state machine.

It knows how many workers are wanted and how each one stands, and announces generations. It runs
where the job is controlled, outlives every worker, and is the only one that numbers generations.
No sockets, no clock, no Ray.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from absa.errors import ResizeError
from cluster.elastic.messages import Announcement, Reply, Status, WorkerId


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the coordinator waits for what; all in seconds.

    Args:
        lease_s: How long a member may train without hearing from the coordinator.
        margin_s: How much longer the coordinator waits before it takes a silent member for dead:
            more than two clocks can drift apart in a lease.
        start_s: For a newcomer to be ready, the arrival of its node included.
        gather_s: For other newcomers, once one is ready: those that join together cost one
            interruption.
        form_s: For all members of a generation to train.
        suspect_s: For news of a death, once a member has reported that its generation is broken.
    """

    lease_s: float = 10.0
    margin_s: float = 2.0
    start_s: float = 300.0
    gather_s: float = 5.0
    form_s: float = 60.0
    suspect_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Start:
    """Start so many workers; their ids come with `started`."""

    count: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End a worker, whatever it is doing."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Publish:
    """Store an announcement where a new coordinator finds it, then send it to all."""

    announcement: Announcement


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the journal."""

    text: str


Action = Start | Kill | Publish | Note


@dataclass(frozen=True, slots=True)
class Worker:
    """What the coordinator knows of a living worker.

    Args:
        since_s: When it was started.
        heard_s: When it was last heard of.
        ready_s: When it was first known to be ready, or None.
        status: The newest one, or None.
    """

    since_s: float
    heard_s: float
    ready_s: float | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Coordinator:
    """What the coordinator knows.

    Args:
        limits: How long it waits for what.
        wanted: Workers that there should be.
        announcement: The newest generation, or None before the first.
        announced_s: When it was announced.
        workers: Those that live, as far as it knows.
        num_starting: Workers asked for that have no id yet.
        asked_s: When they were asked for.
        broken_s: When the newest generation was first known to be broken, or None.
        lost_leaver: A worker that should have left for the newest generation was lost before that
            generation trained: its peers may wait for it at their last boundary.
        given_up: The wish is given up until the next one: newcomers did not come in time.
        ended: Workers that have ended or that this coordinator has ended: what they still say is
            late.
    """

    limits: Limits
    wanted: int
    announcement: Announcement | None = None
    announced_s: float = 0.0
    workers: Mapping[WorkerId, Worker] = field(default_factory=dict)
    num_starting: int = 0
    asked_s: float = 0.0
    broken_s: float | None = None
    lost_leaver: bool = False
    given_up: bool = False
    ended: frozenset[WorkerId] = frozenset()


Step = tuple[Coordinator, tuple[Action, ...]]


def wish(state: Coordinator, wanted: int, now_s: float) -> Step:
    """Somebody wants another number of workers.

    Raises:
        ResizeError: The number is below 1: without a worker nobody would have the state.
    """
    if wanted < 1:
        raise ResizeError(f"{wanted} workers were wanted; at least 1 must stay to keep the state")
    return advance(replace(state, wanted=wanted, given_up=False), now_s)


def started(state: Coordinator, worker: WorkerId, now_s: float) -> Step:
    """A worker that was asked for has a process."""
    state = replace(state, num_starting=max(state.num_starting - 1, 0))
    # News of its end, or its own first words, may have been faster.
    if worker not in state.ended and worker not in state.workers:
        state = _with(state, worker, Worker(now_s, now_s))
    return advance(state, now_s)


def reported(state: Coordinator, status: Status, now_s: float) -> tuple[Step, Reply]:
    """A worker says how it stands."""
    known = state.workers.get(status.worker)
    if known is None and status.generation < 0 and status.worker not in state.ended:
        known = Worker(now_s, now_s)  # started by a coordinator that was lost
    if known is None:
        return (state, ()), Reply(status.sent_s, state.announcement, dismissed=True)
    if known.status is None or status.sequence > known.status.sequence:
        ready_s = now_s if known.ready_s is None and status.phase == "ready" else known.ready_s
        known = replace(known, status=status, ready_s=ready_s)
    state = _with(state, status.worker, replace(known, heard_s=now_s))
    if status.phase == "gone":
        state = _ended(_without(state, status.worker), status.worker)
    step = advance(state, now_s)
    return step, Reply(
        status.sent_s, step[0].announcement, dismissed=status.worker not in step[0].workers
    )


def died(state: Coordinator, worker: WorkerId, now_s: float) -> Step:
    """A worker's process was lost."""
    if worker not in state.workers:
        return _ended(state, worker), ()
    return advance(_ended(_lose(state, worker), worker), now_s)


def hung_up(state: Coordinator, worker: WorkerId, now_s: float) -> Step:
    """A worker's connection has ended; who said farewell before is no loss.

    Its process is most likely dead, so its peers go on at once. If it lives it must not: it is
    ended, and knows from `cut_off` that it may apply nothing. Nothing that it says over a newer
    connection may be told before this.
    """
    if worker not in state.workers:
        return state, ()
    state, actions = _kill(state, [worker], "hung up")
    state, more = advance(state, now_s)
    return state, (*actions, *more)


def left(state: Coordinator, worker: WorkerId, now_s: float) -> Step:
    """A worker's process has ended by itself, as it was told: nobody waits for it."""
    return advance(_ended(_without(state, worker), worker), now_s)


def restarted(
    limits: Limits, wanted: int, announcement: Announcement | None, now_s: float
) -> Coordinator:
    """Return a new coordinator that follows one that was lost.

    Args:
        limits: How long it waits for what.
        wanted: Workers that there should be.
        announcement: The newest that was stored.
        now_s: Its members have this long ago been heard of; who lives will say so.
    """
    members = () if announcement is None else announcement.members
    workers = {worker: Worker(now_s, now_s) for worker in members}
    return Coordinator(limits, wanted, announcement, now_s, workers)


def advance(state: Coordinator, now_s: float) -> Step:
    """Do whatever is due; call it at `next_deadline_s` at the latest."""
    actions: list[Action] = []
    for rule in (_bury_the_silent, _give_up_the_late, _drop_surplus_newcomers, _announce, _start):
        state, more = rule(state, now_s)
        actions += more
    return state, tuple(actions)


def next_deadline_s(state: Coordinator) -> float | None:
    """Return when `advance` must be called at the latest, or None."""
    limits, times = state.limits, []
    for worker_id, worker in state.workers.items():
        times.append(worker.heard_s + limits.lease_s + limits.margin_s)
        if _is_newcomer(state, worker_id) and not _is_ready(worker):
            times.append(worker.since_s + limits.start_s)
        if _is_leaving(state, worker_id):
            times.append(state.announced_s + limits.form_s)
    if state.num_starting:
        times.append(state.asked_s + limits.start_s)
    if state.broken_s is not None and _living_members(state) and _members_are_known(state):
        times.append(state.broken_s + limits.suspect_s)
    if _living_members(state) and not _all_train(state):
        times.append(state.announced_s + limits.form_s)
    if _may_gather(state):
        times.append(_ready_since_s(state) + limits.gather_s)
    return min(times, default=None)


def _bury_the_silent(state: Coordinator, now_s: float) -> Step:
    patience_s = state.limits.lease_s + state.limits.margin_s
    silent = [id_ for id_, w in state.workers.items() if now_s >= w.heard_s + patience_s]
    if state.announcement is not None and now_s >= state.announced_s + state.limits.form_s:
        silent += [id_ for id_ in state.workers if _is_stuck(state, id_) and id_ not in silent]
    return _kill(state, silent, "did not answer, or did not follow")


def _give_up_the_late(state: Coordinator, now_s: float) -> Step:
    start_s = state.limits.start_s
    late = [
        id_
        for id_, w in state.workers.items()
        if _is_newcomer(state, id_) and not _is_ready(w) and now_s >= w.since_s + start_s
    ]
    never_came = state.num_starting > 0 and now_s >= state.asked_s + start_s
    if not late and not never_came:
        return state, ()
    state, actions = _kill(state, late, "was not ready in time")
    num = len(late) + (state.num_starting if never_came else 0)
    note = Note(
        f"{num} of {state.wanted} wanted workers did not come within {start_s:g} s; "
        "training goes on without them until another number is wanted"
    )
    num_starting = 0 if never_came else state.num_starting
    return replace(state, num_starting=num_starting, given_up=True), (*actions, note)


def _drop_surplus_newcomers(state: Coordinator, now_s: float) -> Step:
    newcomers = [id_ for id_ in state.workers if _is_newcomer(state, id_)]
    room = max(state.wanted - len(_living_members(state)), 0)
    return _kill(state, newcomers[room:], "is not wanted any more")


def _announce(state: Coordinator, now_s: float) -> Step:
    """Announce the next generation if the newest is broken, or if it is whole and has to change."""
    state = _note_broken(state, now_s)
    newest = state.announcement
    if not _members_are_known(state):
        return state, ()
    beyond_repair = newest is not None and _is_beyond_repair(state, now_s)
    # One that was to leave has the state: it is worth more than a newcomer.
    stayers = [id_ for id_ in state.workers if beyond_repair and _is_leaving(state, id_)]
    members = [*_living_members(state), *filter(partial(_has_state, state), stayers)]
    members = members[: state.wanted]
    ready = [id_ for id_, w in state.workers.items() if _is_newcomer(state, id_) and _is_ready(w)]
    joining = ready[: state.wanted - len(members)]
    if beyond_repair:
        if members or (joining and _gathered(state, now_s)):
            return _publish(state, (*members, *joining), now_s, breaks=True)
        return state, ()
    if newest is not None and not _all_train(state):
        return state, ()
    joins = bool(joining) and _gathered(state, now_s)
    if joins or (newest is not None and len(members) < len(newest.members)):
        return _publish(state, (*members, *(joining if joins else ())), now_s, breaks=False)
    return state, ()


def _start(state: Coordinator, now_s: float) -> Step:
    staying = sum(not _is_leaving(state, id_) for id_ in state.workers)
    missing = state.wanted - staying - state.num_starting
    # Nobody trains on without them if there is nobody: then they are asked for again and again.
    if missing <= 0 or (state.given_up and _living_members(state)):
        return state, ()
    state = replace(state, num_starting=state.num_starting + missing, asked_s=now_s)
    return state, (Start(missing),)


def _publish(
    state: Coordinator, members: tuple[WorkerId, ...], now_s: float, *, breaks: bool
) -> Step:
    newest = state.announcement
    generation = 0 if newest is None else newest.generation + 1
    lineage = 0 if newest is None else newest.lineage
    restores = not any(_has_state(state, id_) for id_ in members)
    if restores and newest is not None:
        lineage += 1
    announcement = Announcement(generation, lineage, members, restores, breaks)
    state = replace(
        state, announcement=announcement, announced_s=now_s, broken_s=None, lost_leaver=False
    )
    return state, (Publish(announcement),)


def _note_broken(state: Coordinator, now_s: float) -> Coordinator:
    newest = state.announcement
    if newest is None:
        return state
    reports = [_status(state, id_) for id_ in newest.members]
    broken = any(
        s is not None and s.phase == "waiting" and s.generation == newest.generation
        for s in reports
    )
    if not broken and not (state.lost_leaver and not _all_train(state)):
        return replace(state, broken_s=None)
    return replace(state, broken_s=now_s) if state.broken_s is None else state


def _is_beyond_repair(state: Coordinator, now_s: float) -> bool:
    assert state.announcement is not None
    if len(_living_members(state)) < len(state.announcement.members):
        return True
    if state.broken_s is not None and now_s >= state.broken_s + state.limits.suspect_s:
        return True
    return not _all_train(state) and now_s >= state.announced_s + state.limits.form_s


def _gathered(state: Coordinator, now_s: float) -> bool:
    """Whether those who are ready need not wait for others."""
    pending = state.num_starting > 0 or any(
        _is_newcomer(state, id_) and not _is_ready(w) for id_, w in state.workers.items()
    )
    return not pending or now_s >= _ready_since_s(state) + state.limits.gather_s


def _may_gather(state: Coordinator) -> bool:
    """Whether the next thing that a ready newcomer waits for is the end of the gathering."""
    ready = any(_is_newcomer(state, id_) and _is_ready(w) for id_, w in state.workers.items())
    return ready and (state.announcement is None or _all_train(state) or not _living_members(state))


def _ready_since_s(state: Coordinator) -> float:
    """Return when the newcomer that has waited longest became ready."""
    times = (
        w.ready_s
        for id_, w in state.workers.items()
        if w.ready_s is not None and _is_newcomer(state, id_)
    )
    return min(times, default=float("inf"))


def _living_members(state: Coordinator) -> list[WorkerId]:
    members = () if state.announcement is None else state.announcement.members
    return [id_ for id_ in members if id_ in state.workers]


def _members_are_known(state: Coordinator) -> bool:
    """Whether every living member has said how it stands.

    After a restart they have yet to: to go on without their words would be to throw away the state
    that they have. Who stays silent is buried.
    """
    return all(_status(state, id_) is not None for id_ in _living_members(state))


def _all_train(state: Coordinator) -> bool:
    newest = state.announcement
    return newest is not None and all(
        (s := _status(state, id_)) is not None
        and s.phase == "training"
        and s.generation == newest.generation
        for id_ in newest.members
    )


def _is_newcomer(state: Coordinator, worker: WorkerId) -> bool:
    """Whether a worker has been in no generation yet."""
    if state.announcement is not None and worker in state.announcement.members:
        return False
    status = _status(state, worker)
    return status is None or status.generation < 0


def _is_leaving(state: Coordinator, worker: WorkerId) -> bool:
    newest = state.announcement
    if newest is None or worker in newest.members:
        return False
    return not _is_newcomer(state, worker)


def _is_stuck(state: Coordinator, worker: WorkerId) -> bool:
    """Whether a worker should have begun to form the newest generation, or have left for it."""
    newest = state.announcement
    assert newest is not None
    if worker not in newest.members:
        return _is_leaving(state, worker)
    status = _status(state, worker)
    return status is None or status.generation < newest.generation


def _is_ready(worker: Worker) -> bool:
    return worker.status is not None and worker.status.phase == "ready"


def _has_state(state: Coordinator, worker: WorkerId) -> bool:
    status, newest = _status(state, worker), state.announcement
    return status is not None and newest is not None and status.lineage == newest.lineage


def _status(state: Coordinator, worker: WorkerId) -> Status | None:
    known = state.workers.get(worker)
    return None if known is None else known.status


def _kill(state: Coordinator, workers: list[WorkerId], why: str) -> Step:
    actions: list[Action] = []
    for worker in workers:
        state = _ended(_lose(state, worker), worker)
        actions += [Note(f"worker {worker} {why}: it is ended"), Kill(worker)]
    return state, tuple(actions)


def _lose(state: Coordinator, worker: WorkerId) -> Coordinator:
    """Strike out a worker that has not left by itself."""
    lost_leaver = state.lost_leaver or (_is_leaving(state, worker) and not _all_train(state))
    return replace(_without(state, worker), lost_leaver=lost_leaver)


def _ended(state: Coordinator, worker: WorkerId) -> Coordinator:
    return replace(state, ended=state.ended | {worker})


def _with(state: Coordinator, worker: WorkerId, known: Worker) -> Coordinator:
    return replace(state, workers={**state.workers, worker: known})


def _without(state: Coordinator, worker: WorkerId) -> Coordinator:
    workers = {id_: known for id_, known in state.workers.items() if id_ != worker}
    return replace(state, workers=workers)
