"""A deterministic world for the membership machines: processes, messages, collectives, faults.

A schedule is data (`Schedule`): what goes wrong when, and the seed of all delays. `run` plays it
and returns the first rule that is broken, or None. Nothing here is random but what the seed says,
so a failing schedule fails again, and `shrink` cuts it down to what is needed.

What it does not play: two workers that do not hear each other while the controller hears both; a
worker that keeps reporting while its training stands still, or a collective that neither ends nor
fails; a process that stops between `may_apply` and the update; a checkpoint that a replaced rank 0
is still writing; clocks that run at different speeds.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Literal

from cluster.elastic import coordinator as coordinator_module
from cluster.elastic import member as member_module
from cluster.elastic.coordinator import Coordinator, Kill, Limits, Publish, Start
from cluster.elastic.member import Abort, Exit, Form, Holding, Member, Restore, Train, Transfer
from cluster.elastic.messages import Announcement, Reply, Status

LIMITS = Limits(lease_s=2.0, margin_s=0.5, start_s=6.0, gather_s=0.5, form_s=4.0, suspect_s=0.3)
HEARTBEAT_S = 0.5
UPDATE_S = (0.1, 0.4)
DELAY_S = (0.005, 0.1)
START_S = (0.3, 1.5)
CHECKPOINT_EVERY = 5
FAULTS_END_S = 5.0
MOST_EVENTS = 30_000
PATIENCE_S = 60.0
"""How long after the last fault the group may take to be whole again."""

FaultKind = Literal[
    "crash", "hangup", "hang", "freeze", "partition", "controller", "wish", "shortage", "slow"
]
PEACEFUL = {"wish", "shortage"}
"""What happens without anything going wrong: no generation may break."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, or changes.

    Args:
        at_s: When.
        kind: crash (a worker's process ends), hangup (its connection to the controller ends, but
            it lives), hang (it stands still and comes back), freeze (it stands still for good and
            cannot be ended), partition (it and the controller do not hear each other), controller
            (it is lost and comes back), wish (another number of workers), shortage (asked workers
            do not come), slow (messages take long).
        target: Which worker, counted among the living; or how many are wanted.
        lasts_s: How long.
    """

    at_s: float
    kind: FaultKind
    target: int
    lasts_s: float


@dataclass(frozen=True)
class Schedule:
    """One world: workers wanted at first, faults, and the seed of all delays."""

    seed: int
    wanted: int
    loss: float
    doubling: float
    faults: tuple[Fault, ...]


def make_schedule(seed: int) -> Schedule:
    """Return a random schedule."""
    rng = random.Random(seed)
    kinds: tuple[FaultKind, ...] = (
        "crash", "crash", "hangup", "hang", "freeze", "partition", "controller",
        "wish", "wish", "shortage", "slow",
    )  # fmt: skip
    if rng.random() < 0.15:
        kinds = ("wish", "wish", "shortage")
    faults = tuple(
        Fault(
            at_s=round(rng.uniform(0, FAULTS_END_S), 3),
            kind=rng.choice(kinds),
            target=rng.randint(0, 3),
            lasts_s=round(rng.choice((0.2, 1.0, 2.2, 3.0, 5.0)) * rng.uniform(0.8, 1.2), 3),
        )
        for _ in range(rng.randint(0, 6))
    )
    loss, doubling = rng.choice((0.0, 0.0, 0.1)), rng.choice((0.0, 0.1))
    return Schedule(seed, rng.randint(1, 3), loss, doubling, tuple(sorted(faults, key=_at)))


def _at(fault: Fault) -> float:
    return fault.at_s


class RuleBrokenError(AssertionError):
    """A rule that every schedule must keep."""


@dataclass
class Process:
    """One worker's process."""

    member: Member
    history: tuple[int, int] = (0, 0)
    """Length and hash of the updates in its weights."""
    alive: bool = True
    hangs_until: float = 0.0
    cut_until: float = 0.0
    connected_s: float = 0.0
    silent_until: float = 0.0
    """Until when the coordinator has not seen that the connection has ended."""
    backlog: list[Callable[[], None]] = field(default_factory=list)
    unapplied: tuple[int, bool] | None = None


@dataclass
class Meeting:
    """One collective of a generation: everybody must arrive, or nobody gets through."""

    members: tuple[int, ...]
    arrived: dict[int, Any] = field(default_factory=dict)
    over: bool = False


class World:
    """Plays one schedule."""

    def __init__(
        self,
        schedule: Schedule,
        member: ModuleType = member_module,
        coordinator: ModuleType = coordinator_module,
    ) -> None:
        self.schedule, self.member, self.coordinator = schedule, member, coordinator
        self.rng = random.Random(schedule.seed ^ 0x5EED)
        self.now = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.counter = 0
        self.processes: dict[int, Process] = {}
        self.meetings: dict[tuple[int, str], Meeting] = {}
        self.ended: dict[int, set[int]] = {}
        self.controller: Coordinator | None = Coordinator(LIMITS, 0)
        self.stored: Announcement | None = None
        self.wanted = schedule.wanted
        self.shortage_until = self.slow_until = 0.0
        self.quiet_from = max((f.at_s + f.lasts_s for f in schedule.faults), default=0.0)
        self.ticks_at = float("inf")
        self.checkpoint: tuple[int, int] = (0, 0)
        self.restored: dict[int, tuple[int, int]] = {}
        self.first_update: dict[tuple[int, int], int] = {}
        self.newest_applied = (-1, -1)
        self.canonical: dict[int, list[tuple[int, int]]] = {}
        self.num_applied = 0
        self.touched: set[int] = set()
        self.unhurried = all(f.kind not in ("slow", "controller") for f in schedule.faults)
        self.peaceful = all(fault.kind in PEACEFUL for fault in schedule.faults)
        self.trace: list[str] | None = None

    def play(self) -> None:
        """Run until the group is whole after the last fault.

        Raises:
            RuleBrokenError: A rule was broken.
        """
        self.at(0.0, lambda: self._wish(self.wanted))
        for fault in self.schedule.faults:
            self.at(fault.at_s, lambda fault=fault: self._happen(fault))
        whole_at: int | None = None
        while self.queue:
            self.now, _, call = heapq.heappop(self.queue)
            call()
            if self.now < self.quiet_from and self.counter < MOST_EVENTS:
                continue
            if not self._is_whole():
                whole_at = None
            elif whole_at is None:
                whole_at = self.num_applied
            elif self.num_applied >= whole_at + 2 * self.wanted:
                return
            if self.now > self.quiet_from + PATIENCE_S:
                break
            if self.counter > MOST_EVENTS:
                raise RuleBrokenError(f"busy without end: {self._picture()}")
        raise RuleBrokenError(f"no progress: {self._picture()}")

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Plan a call."""
        self.counter += 1
        heapq.heappush(self.queue, (when, self.counter, call))

    # ---- faults

    def _happen(self, fault: Fault) -> None:
        self._log(f"fault {fault.kind} {fault.target} for {fault.lasts_s}")
        living = [id_ for id_, p in self.processes.items() if p.alive]
        until = self.now + fault.lasts_s
        if fault.kind == "wish":
            self._wish(1 + fault.target)
        elif fault.kind == "shortage":
            self.shortage_until = until
        elif fault.kind == "slow":
            self.slow_until = until
        elif fault.kind == "controller":
            self.controller = None
            self.at(until, self._restart_controller)
        elif living:
            worker = living[fault.target % len(living)]
            self.touched.add(worker)
            if fault.kind == "crash":
                self._end(worker)
            elif fault.kind == "hangup":
                self._hang_up(worker)
            elif fault.kind == "partition":
                self.processes[worker].cut_until = until
            elif fault.kind == "freeze":
                self.processes[worker].hangs_until = float("inf")
            else:
                self.processes[worker].hangs_until = max(until, self.processes[worker].hangs_until)
                self.at(until, lambda: self._wake(worker))

    def _wish(self, wanted: int) -> None:
        self.wanted = wanted
        self._control(lambda c: self.coordinator.wish(c, wanted, self.now))

    def _restart_controller(self) -> None:
        if self.controller is None:
            self.controller = self.coordinator.restarted(LIMITS, self.wanted, self.stored, self.now)
            for worker, process in self.processes.items():
                if not process.alive:
                    self._tell_end(worker)
            self._control(lambda c: self.coordinator.wish(c, self.wanted, self.now))

    def _end(self, worker: int) -> None:
        """A process ends: its peers and, later, the controller notice."""
        process = self.processes[worker]
        if not process.alive:
            return
        process.alive = False
        self._leave_meetings(worker)
        farewell = None
        if process.member.phase == "gone":
            process.member, farewell = self.member.status(process.member, self.now)
        self.at(self.now + self._delay(), lambda: self._tell_hung_up(worker, farewell))
        self._tell_end(worker)

    def _kill(self, worker: int) -> None:
        """Whoever stands still, or cannot be reached, is ended when that is over."""
        process = self.processes[worker]
        when = max(self.now, process.hangs_until, process.cut_until) + self._delay()
        if when < float("inf"):
            self.at(when, lambda: self._end(worker))

    def _hang_up(self, worker: int) -> None:
        """The connection ends on the worker's side first; one that stands still closes nothing."""
        process = self.processes[worker]
        if self.now < max(process.hangs_until, process.cut_until) or self.controller is None:
            return
        process.member = self.member.cut_off(process.member)
        process.connected_s = self.now + 1e-9
        process.silent_until = self.now + self._delay()
        self.at(process.silent_until, lambda: self._tell_hung_up(worker))

    def _tell_hung_up(self, worker: int, farewell: Status | None = None) -> None:
        if self.now < self.processes[worker].cut_until:
            return
        if farewell is not None:
            self._hear(farewell)
        self._control(lambda c: self.coordinator.hung_up(c, worker, self.now))

    def _tell_end(self, worker: int) -> None:
        clean = self.processes[worker].member.phase == "gone"
        tell = self.coordinator.left if clean else self.coordinator.died
        self.at(
            self.now + self.rng.uniform(0.02, 1.0),
            lambda: self._control(lambda c: tell(c, worker, self.now)),
        )

    def _wake(self, worker: int) -> None:
        process = self.processes[worker]
        if self.now < process.hangs_until or not process.alive:
            return
        backlog, process.backlog = process.backlog, []
        for call in backlog:
            call()

    # ---- the controller's side

    def _control(self, step: Callable[[Coordinator], Any]) -> None:
        if self.controller is None:
            return
        self.controller, actions = step(self.controller)
        self._carry_out(actions)

    def _carry_out(self, actions: tuple[Any, ...]) -> None:
        for action in actions:
            self._log(f"controller {action}")
            if isinstance(action, Start):
                for _ in range(action.count):
                    self._start_worker()
            elif isinstance(action, Kill):
                self._check_kill(action.worker)
                self._kill(action.worker)
            elif isinstance(action, Publish):
                self.stored = action.announcement
                if action.announcement.breaks and self.peaceful:
                    raise RuleBrokenError(f"nothing went wrong, but: {action.announcement}")
                for worker in self.processes:
                    self._send_announcement(worker, action.announcement)
        self._plan_tick()

    def _plan_tick(self) -> None:
        assert self.controller is not None
        deadline = self.coordinator.next_deadline_s(self.controller)
        if deadline is None:
            return
        if deadline < self.now - 1e-9 and self.ticks_at > self.now:
            deadline = self.now
        deadline = max(deadline, self.now) + 1e-6
        if deadline < self.ticks_at or self.ticks_at <= self.now:
            self.ticks_at = deadline
            self.at(deadline, self._tick)

    def _tick(self) -> None:
        if self.now >= self.ticks_at:
            self.ticks_at = float("inf")
        self._control(lambda c: self.coordinator.advance(c, self.now))

    def _start_worker(self) -> None:
        if self.now < self.shortage_until:
            return  # it never comes
        worker = len(self.processes) + 1
        self.processes[worker] = Process(Member(worker))
        begin = self.now + self._delay()
        self.at(
            begin, lambda: self._control(lambda c: self.coordinator.started(c, worker, self.now))
        )
        self.at(begin + self.rng.uniform(*START_S), lambda: self._do(worker, self._warm(worker)))
        self.at(begin, lambda: self._beat(worker))

    def _send_announcement(self, worker: int, announcement: Announcement) -> None:
        for _ in range(self._copies()):
            self.at(
                self.now + self._delay(),
                lambda: self._do(
                    worker, lambda m: self.member.announced(m, announcement), controller=True
                ),
            )

    # ---- a worker's side

    def _warm(self, worker: int) -> Callable[[Member], Any]:
        return lambda m: self.member.warmed_up(m)

    def _beat(self, worker: int) -> None:
        process = self.processes[worker]
        if not process.alive:
            return
        if self.now >= process.hangs_until:
            self._report(worker)
        self.at(self.now + HEARTBEAT_S, lambda: self._beat(worker))

    def _report(self, worker: int) -> None:
        process = self.processes[worker]
        process.member, status = self.member.status(process.member, self.now)
        if self.now < process.cut_until:
            return
        for _ in range(self._copies()):
            self.at(self.now + self._delay(), lambda: self._hear(status))

    def _hear(self, status: Status) -> None:
        process = self.processes[status.worker]
        if self.controller is None or self.now < max(process.cut_until, process.silent_until):
            return
        before = self.controller
        (self.controller, actions), reply = self.coordinator.reported(before, status, self.now)
        self._carry_out(actions)
        for _ in range(self._copies()):
            self.at(self.now + self._delay(), lambda: self._answer(status.worker, reply))

    def _answer(self, worker: int, reply: Reply) -> None:
        if reply.sent_s < self.processes[worker].connected_s:
            return
        self._do(worker, lambda m: self.member.replied(m, reply, LIMITS.lease_s), controller=True)
        process = self.processes[worker]
        if process.alive and process.unapplied is not None and self.now >= process.hangs_until:
            self._apply(worker, *process.unapplied)

    def _do(self, worker: int, step: Callable[[Member], Any], *, controller: bool = False) -> None:
        process = self.processes[worker]
        if not process.alive or (controller and self.now < process.cut_until):
            return
        if self.now < process.hangs_until:
            process.backlog.append(lambda: self._do(worker, step))
            return
        before = process.member.phase, process.member.generation
        process.member, actions = step(process.member)
        for action in actions:
            self._log(f"worker {worker} {action}")
            self._act(worker, action)
        if (process.member.phase, process.member.generation) != before and process.alive:
            self._report(worker)

    def _act(self, worker: int, action: Any) -> None:
        process = self.processes[worker]
        if isinstance(action, Form):
            process.unapplied = None
            members = action.announcement.members
            generation = action.announcement.generation
            self._arrive(worker, generation, "form", members, process.member.holding)
        elif isinstance(action, Transfer):
            members = process.member.announced.members
            mine = (process.member.holding, process.history)
            self._arrive(worker, action.generation, f"transfer {action.source}", members, mine)
        elif isinstance(action, Restore):
            members = process.member.announced.members
            self._arrive(worker, action.generation, "restore", members, None)
        elif isinstance(action, Abort):
            process.unapplied = None
            self._leave_meetings(worker, action.generation)
        elif isinstance(action, Train):
            self._compute(worker, action.generation)
        elif isinstance(action, Exit):
            self._end(worker)

    # ---- collectives

    def _arrive(
        self, worker: int, generation: int, kind: str, members: tuple[int, ...], brings: Any
    ) -> None:
        meeting = self.meetings.setdefault((generation, kind), Meeting(members))
        meeting.arrived[worker] = brings
        ended = self.ended.get(generation, set())
        if any(m in ended or not self.processes[m].alive for m in members):
            self._fail_later(worker, generation)
        elif len(meeting.arrived) == len(members):
            meeting.over = True
            for one in members:
                self.at(
                    self.now + self._delay(),
                    lambda one=one: self._get_through(one, generation, kind, meeting),
                )

    def _get_through(self, worker: int, generation: int, kind: str, meeting: Meeting) -> None:
        """A collective in which all arrived ends well, unless a process has died meanwhile."""
        if any(not self.processes[m].alive for m in meeting.members):
            self._fail_later(worker, generation)
            return
        process = self.processes[worker]
        if self.now < process.hangs_until:
            process.backlog.append(lambda: self._get_through(worker, generation, kind, meeting))
            return
        if kind == "form":
            holdings = dict(meeting.arrived)
            self._do(worker, lambda m: self.member.formed(m, generation, holdings))
        elif kind == "restore":
            history = self.restored.setdefault(generation, self.checkpoint)
            self._settle(worker, generation, history)
        elif kind.startswith("transfer"):
            _, history = meeting.arrived[int(kind.split()[1])]
            self._settle(worker, generation, history)
        elif process.alive:
            self._apply(worker, generation, any(meeting.arrived.values()))

    def _settle(self, worker: int, generation: int, history: tuple[int, int]) -> None:
        process = self.processes[worker]
        if process.member.phase != "forming" or process.member.generation != generation:
            return
        announcement = process.member.announced
        held = process.member.holding
        kept = held is None or held.lineage != announcement.lineage or held.update <= history[0]
        if not kept:
            raise RuleBrokenError(
                f"generation {generation} begins at update {history[0]}, but worker {worker}, a "
                f"member, had applied {held.update}"
            )
        process.history = history
        lineage = announcement.lineage
        canonical = self.canonical.setdefault(generation, [history])
        if canonical[0] != history:
            raise RuleBrokenError(f"generation {generation} begins with different states")
        holding = Holding(lineage, history[0])
        self._do(worker, lambda m: self.member.settled(m, generation, holding))

    def _leave_meetings(self, worker: int, generation: int | None = None) -> None:
        """Whoever waits for ``worker`` in a collective gets an error."""
        for (number, _), meeting in list(self.meetings.items()):
            if worker not in meeting.members or generation not in (None, number):
                continue
            self.ended.setdefault(number, set()).add(worker)
            if not meeting.over:
                for other in list(meeting.arrived):
                    if other != worker:
                        self._fail_later(other, number)
        if generation is not None:
            self.ended.setdefault(generation, set()).add(worker)

    def _fail_later(self, worker: int, generation: int) -> None:
        self.at(
            self.now + self.rng.uniform(0.04, 0.15),
            lambda: self._do(worker, lambda m: self._failed(worker, m, generation)),
        )

    def _failed(self, worker: int, member: Member, generation: int) -> Any:
        before = member
        member, actions = self.member.failed(member, generation)
        if member is not before:
            self._leave_meetings(worker, generation)
            self.processes[worker].unapplied = None
        return member, actions

    # ---- training

    def _compute(self, worker: int, generation: int) -> None:
        self.at(
            self.now + self.rng.uniform(*UPDATE_S), lambda: self._contribute(worker, generation)
        )

    def _contribute(self, worker: int, generation: int) -> None:
        process = self.processes[worker]
        if self.now < process.hangs_until:
            process.backlog.append(lambda: self._contribute(worker, generation))
            return
        member = process.member
        if not process.alive or (member.phase, member.generation) != ("training", generation):
            return
        # What it does not know yet the ranks tell each other: any newer announcement counts.
        newer = member.announced.generation > generation
        members = process.group = self._members_of(generation, member)
        kind = f"update {process.history[0]}"
        self._arrive(worker, generation, kind, members, newer)

    def _members_of(self, generation: int, member: Member) -> tuple[int, ...]:
        return self.meetings[(generation, "form")].members

    def _apply(self, worker: int, generation: int, newer: bool) -> None:
        process = self.processes[worker]
        member = process.member
        if (member.phase, member.generation) != ("training", generation):
            return
        if not self.member.may_apply(member, generation, self.now):
            process.unapplied = (generation, newer)  # until the coordinator is heard again
            return
        process.unapplied = None
        length, chain = process.history
        lineage = member.holding.lineage
        self._check_order(lineage, generation, length)
        process.history = (length + 1, hash((chain, lineage, generation, length)))
        self._check_same(generation, process.history)
        self._do(worker, lambda m: self.member.at_boundary(m, generation, newer=newer))
        if process.member.holding.update != process.history[0]:
            raise RuleBrokenError("a member miscounts its updates")
        self._save(process, lineage, generation)
        if process.alive and process.member.phase == "training":
            self._compute(worker, generation)

    def _save(self, process: Process, lineage: int, generation: int) -> None:
        """Rank 0 writes a checkpoint; one of a lineage that was replaced is refused."""
        first = self._members_of(generation, process.member)[0] == process.member.worker
        current = self.stored is not None and self.stored.lineage == lineage
        if first and current and process.history[0] % CHECKPOINT_EVERY == 0:
            self.checkpoint = process.history

    # ---- rules

    def _check_order(self, lineage: int, generation: int, update: int) -> None:
        """Once a newer generation has applied an update, no older one applies it or a later one."""
        self.num_applied += 1
        mine = (lineage, generation)
        for (their_lineage, theirs), first in self.first_update.items():
            if (their_lineage, theirs) > mine and (their_lineage > lineage or update >= first):
                raise RuleBrokenError(
                    f"generation {generation} applied update {update} after generation {theirs} "
                    f"had applied update {first}"
                )
        self.first_update.setdefault(mine, update)

    def _check_same(self, generation: int, history: tuple[int, int]) -> None:
        """All members of a generation apply the same updates, each once, in one order."""
        canonical = self.canonical[generation]
        index = history[0] - canonical[0][0]
        if index == len(canonical):
            canonical.append(history)
        elif not 0 < index < len(canonical) or canonical[index] != history:
            raise RuleBrokenError(f"members of generation {generation} have different histories")

    def _check_kill(self, worker: int) -> None:
        """Nobody who works and is heard is ended: a fault of one costs the others no process."""
        member = self.processes[worker].member
        if (
            self.unhurried
            and self.processes[worker].alive
            and worker not in self.touched
            and member.phase not in ("warming", "ready", "gone")
        ):
            raise RuleBrokenError(f"worker {worker} is well, but is ended")

    def _is_whole(self) -> bool:
        """Whether as many workers as are wanted train in one generation, and nobody else lives."""
        if self.controller is None or self.stored is None:
            return False
        living = [
            id_ for id_, p in self.processes.items() if p.alive and p.hangs_until < float("inf")
        ]
        members = self.stored.members
        if sorted(living) != sorted(members):
            return False
        if len(members) != self.wanted and not self.controller.given_up:
            return False
        return all(
            self.processes[m].member.phase == "training"
            and self.processes[m].member.generation == self.stored.generation
            for m in members
        )

    # ---- odds and ends

    def _delay(self) -> float:
        longest = 1.0 if self.now < self.slow_until else DELAY_S[1]
        return self.rng.uniform(DELAY_S[0], longest)

    def _copies(self) -> int:
        if self.now < self.quiet_from and self.rng.random() < self.schedule.loss:
            return 0
        return 2 if self.rng.random() < self.schedule.doubling else 1

    def _log(self, text: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:7.3f} {text}")

    def _picture(self) -> str:
        workers = {
            id_: (p.member.phase, p.member.generation)
            for id_, p in self.processes.items()
            if p.alive and p.hangs_until < float("inf")
        }
        return f"wanted {self.wanted}, newest {self.stored}, living {workers}"


def broken_rule(
    schedule: Schedule,
    member: ModuleType = member_module,
    coordinator: ModuleType = coordinator_module,
    world: type[World] = World,
) -> str | None:
    """Play a schedule; return the rule that was broken, or None."""
    try:
        world(schedule, member, coordinator).play()
    except RuleBrokenError as broken:
        return str(broken)
    return None


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Leave out of a failing schedule whatever is not needed for it to fail."""
    smaller = True
    while smaller:
        smaller = False
        candidates = [
            replace(schedule, faults=schedule.faults[:i] + schedule.faults[i + 1 :])
            for i in range(len(schedule.faults))
        ]
        candidates += [
            replace(schedule, **{name: 0.0})
            for name in ("loss", "doubling")
            if getattr(schedule, name)
        ]
        if schedule.wanted > 1:
            candidates.append(replace(schedule, wanted=schedule.wanted - 1))
        for candidate in candidates:
            if fails(candidate):
                schedule, smaller = candidate, True
                break
    return schedule
