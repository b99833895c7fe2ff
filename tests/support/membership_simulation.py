"""A deterministic world for the membership machines: processes, messages, collectives, faults.

A schedule is data (`Schedule`): what goes wrong when, and the seed of all delays. `World` plays it
until a rule is broken, or until the group is whole again after the last fault. Nothing here is
random but what the seed says, so a failing schedule fails again, and `shrink` cuts it down to what
is needed.

What it does not play: a process that stops between `may_apply` and the update, and a checkpoint
that a replaced rank 0 is still writing. Against both only the fence of what is written helps.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

from membership_rules import History, RuleBrokenError, Rules
from membership_schedule import PEACEFUL, Fault, Schedule

from cluster.elastic.protocol import coordinator as coordinator_module
from cluster.elastic.protocol import member as member_module
from cluster.elastic.protocol.coordinator import Coordinator, Kill, Limits, Publish, Start
from cluster.elastic.protocol.member import (
    Abort,
    Exit,
    Form,
    Holding,
    Member,
    Restore,
    Train,
    Transfer,
)
from cluster.elastic.protocol.messages import Announcement, Reply, Status

LIMITS = Limits(
    lease_s=2.0,
    margin_s=0.5,
    start_s=6.0,
    gather_s=0.5,
    form_s=3.0,
    suspect_s=0.3,
    stall_s=6.0,
    retry_s=4.0,
)
HEARTBEAT_S = 0.65
UPDATE_S = (0.1, 0.4)
DELAY_S = (0.005, 0.1)
START_S = (0.3, 1.5)
END_S = (0.02, 2.0)
CHECKPOINT_EVERY = 5
MOST_LOST = 2
"""Messages from or to one worker in a row: its heartbeats must keep it alive."""
MOST_EVENTS = 5_000
LONGEST_BUSY_S = 3.2
"""More than `form_s`; so much less than `stall_s` that what is done in between is seen."""
PATIENCE_S = 60.0
"""How long after the last fault the group may take to be whole again."""


@dataclass(frozen=True)
class Clock:
    """A clock of its own, as fast as it likes."""

    speed: float
    ahead_s: float

    def at(self, when: float) -> float:
        """Return what it shows at a time."""
        return self.ahead_s + self.speed * when

    def when(self, shown: float) -> float:
        """Return the time at which it shows something."""
        return (shown - self.ahead_s) / self.speed


@dataclass
class Process:
    """One worker's process."""

    member: Member
    clock: Clock
    history: History = (0, 0)
    alive: bool = True
    progress: int = 0
    waits: bool = False
    hangs_until: float = 0.0
    stalls_until: float = 0.0
    cut_until: float = 0.0
    connected_at: float = 0.0
    heard: tuple[str, int] | None = None
    silent_until: float = 0.0
    """For good, once its connection has ended."""
    lost: dict[str, int] = field(default_factory=dict)
    backlog: list[Callable[[], None]] = field(default_factory=list)


@dataclass
class Meeting:
    """One collective of a generation: everybody must arrive, or nobody gets through."""

    members: tuple[int, ...]
    arrived: dict[int, Any] = field(default_factory=dict)


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
        self.groups: dict[int, tuple[int, ...]] = {}
        self.ended: dict[int, set[int]] = {}
        self.links: dict[tuple[int, int], float] = {}
        self.clock = self._make_clock()
        self.controller: Coordinator | None = Coordinator(LIMITS, 0, schedule.least)
        self.stored: Announcement | None = None
        self.wanted = schedule.wanted
        self.shortage_until = self.slow_until = 0.0
        self.quiet_from = max((f.over_s for f in schedule.faults), default=0.0)
        self.ticks_at = float("inf")
        self.checkpoint: tuple[int, int] = (0, 0)
        self.restored: dict[int, tuple[int, int]] = {}
        self.rules = Rules()
        self.touched: set[int] = set()
        kinds = {fault.kind for fault in schedule.faults}
        unclear = bool(kinds & {"link", "rift"}) and (schedule.silent or not schedule.blaming)
        self.culprits_are_known = not unclear and not kinds & {"slow", "controller"}
        self.peaceful = kinds <= PEACEFUL and not schedule.loss
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
                whole_at = self.rules.num_applied
            elif self.rules.num_applied >= whole_at + 2 * self.wanted:
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
            for worker in living:
                self._cut_off(worker)
        elif living:
            self._befall(fault, living[fault.target % len(living)], until)

    def _befall(self, fault: Fault, worker: int, until: float) -> None:
        """Something happens to one worker."""
        process = self.processes[worker]
        if fault.kind == "busy" and self.now < process.stalls_until + 4 * HEARTBEAT_S:
            return  # it would not be seen that something was done in between
        if fault.kind != "busy":
            self.touched.add(worker)
        if fault.kind == "crash":
            self._end(worker)
        elif fault.kind == "hangup":
            self._hang_up(worker)
        elif fault.kind == "partition":
            process.cut_until = until
        elif fault.kind == "freeze":
            process.hangs_until = float("inf")
        elif fault.kind == "hang":
            process.hangs_until = max(until, process.hangs_until)
            self.at(until, lambda: self._wake(worker))
        elif fault.kind == "stuck":
            process.stalls_until = float("inf")
        elif fault.kind == "busy":
            until = self.now + min(fault.lasts_s, LONGEST_BUSY_S)
            process.stalls_until = max(until, process.stalls_until)
            self.at(until, lambda: self._wake(worker))
        else:
            self._cut_link(worker, until if fault.kind == "link" else float("inf"))

    def _cut_link(self, worker: int, until: float) -> None:
        other = next((w for w, p in self.processes.items() if p.alive and w != worker), None)
        if other is not None:
            self.touched.add(other)
            self.links[min(worker, other), max(worker, other)] = until

    def _wish(self, wanted: int) -> None:
        self.wanted = wanted
        self._control(lambda c: self.coordinator.wish(c, wanted, self.clock.at(self.now)))

    def _restart_controller(self) -> None:
        if self.controller is None:
            self.controller = self.coordinator.restarted(
                LIMITS, self.wanted, self.schedule.least, self.stored, self.clock.at(self.now)
            )
            for worker, process in self.processes.items():
                process.heard = None
                if not process.alive:
                    self._tell_end(worker)
            self._control(lambda c: self.coordinator.wish(c, self.wanted, self.clock.at(self.now)))

    def _end(self, worker: int) -> None:
        """A process ends: its peers and, later, the controller notice."""
        process = self.processes[worker]
        if not process.alive:
            return
        process.alive = False
        self._leave_meetings(worker)
        farewell = None
        if process.member.phase == "gone":
            farewell = self._next_status(process)
        self.at(self.now + self._delay(), lambda: self._tell_hung_up(worker, farewell))
        self._tell_end(worker)

    def _kill(self, worker: int) -> None:
        """A process ends when somebody looks after it; one that stands still, when that is over."""
        process = self.processes[worker]
        when = max(self.now, process.hangs_until, process.cut_until) + self.rng.uniform(*END_S)
        if when < float("inf"):
            self.at(when, lambda: self._end(worker))

    def _hang_up(self, worker: int) -> None:
        """The connection ends on the worker's side first; one that stands still closes nothing."""
        process = self.processes[worker]
        if self.now < max(process.hangs_until, process.cut_until) or self.controller is None:
            return
        self._cut_off(worker)
        process.silent_until = float("inf")
        self.at(self.now + self._delay(), lambda: self._tell_hung_up(worker))
        self._kill(worker)  # it ends by itself as soon as it can

    def _cut_off(self, worker: int) -> None:
        process = self.processes[worker]
        if self.now < process.hangs_until:
            process.backlog.append(lambda: self._cut_off(worker))
            return
        process.member = self.member.cut_off(process.member)
        process.connected_at = self.now

    def _tell_hung_up(self, worker: int, farewell: Status | None = None) -> None:
        if self.now < self.processes[worker].cut_until:
            return
        if farewell is not None:
            self._hear(farewell, self.now)
        self._control(lambda c: self.coordinator.hung_up(c, worker, self.clock.at(self.now)))
        self._check_survivors(worker)

    def _tell_end(self, worker: int) -> None:
        clean = self.processes[worker].member.phase == "gone"
        tell = self.coordinator.left if clean else self.coordinator.died
        self.at(
            self.now + self.rng.uniform(0.02, 1.0),
            lambda: self._control(lambda c: tell(c, worker, self.clock.at(self.now))),
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
        deadline_s = self.coordinator.next_deadline_s(self.controller)
        if deadline_s is None:
            return
        deadline = max(self.clock.when(deadline_s), self.now) + 1e-6
        if deadline < self.ticks_at or self.ticks_at <= self.now:
            self.ticks_at = deadline
            self.at(deadline, self._tick)

    def _tick(self) -> None:
        if self.now >= self.ticks_at:
            self.ticks_at = float("inf")
        self._control(lambda c: self.coordinator.advance(c, self.clock.at(self.now)))

    def _start_worker(self) -> None:
        if self.now < self.shortage_until:
            return  # it never comes
        worker = len(self.processes) + 1
        self.processes[worker] = Process(Member(worker), self._make_clock())
        begin = self.now + self._delay()
        self.at(begin, lambda: self._tell_started(worker))
        self.at(begin + self.rng.uniform(*START_S), lambda: self._do(worker, self.member.warmed_up))
        self.at(begin, lambda: self._beat(worker))

    def _tell_started(self, worker: int) -> None:
        self._control(lambda c: self.coordinator.started(c, worker, self.clock.at(self.now)))

    def _send_announcement(self, worker: int, announcement: Announcement) -> None:
        for _ in range(self._copies(worker, "to")):
            self.at(
                self.now + self._delay(),
                lambda: self._do(
                    worker, lambda m: self.member.announced(m, announcement), controller=True
                ),
            )

    # ---- a worker's side

    def _beat(self, worker: int) -> None:
        process = self.processes[worker]
        if not process.alive:
            return
        if self.now >= process.hangs_until:
            self._report(worker)
        self.at(self.now + HEARTBEAT_S, lambda: self._beat(worker))

    def _report(self, worker: int) -> None:
        process = self.processes[worker]
        status = self._next_status(process)
        if self.now < process.cut_until:
            return
        sent_at = self.now
        for _ in range(self._copies(worker, "from")):
            self.at(self.now + self._delay(), lambda: self._hear(status, sent_at))

    def _next_status(self, process: Process) -> Status:
        now_s = process.clock.at(self.now)
        process.member, status = self.member.status(
            process.member, now_s, process.progress, waits=process.waits
        )
        return status

    def _hear(self, status: Status, sent_at: float) -> None:
        process = self.processes[status.worker]
        if self.controller is None or self.now < max(process.cut_until, process.silent_until):
            return
        before = self.controller
        now_s = self.clock.at(self.now)
        (self.controller, actions), reply = self.coordinator.reported(before, status, now_s)
        # What a mere heartbeat puts off or brings is due later than the next silence could be.
        if actions or process.heard != (status.phase, status.generation):
            process.heard = status.phase, status.generation
            self._carry_out(actions)
        for _ in range(self._copies(status.worker, "to")):
            self.at(self.now + self._delay(), lambda: self._answer(status.worker, reply, sent_at))

    def _answer(self, worker: int, reply: Reply, sent_at: float) -> None:
        if sent_at < self.processes[worker].connected_at:
            return  # the connection that it came over has ended
        self._do(worker, lambda m: self.member.replied(m, reply, LIMITS.lease_s), controller=True)

    def _do(self, worker: int, step: Callable[[Member], Any], *, controller: bool = False) -> None:
        process = self.processes[worker]
        cut_until = max(process.cut_until, process.silent_until)
        if not process.alive or (controller and self.now < cut_until):
            return
        if self.now < process.hangs_until if controller else self._is_held_up(process):
            process.waits = process.waits and controller
            process.backlog.append(lambda: self._do(worker, step, controller=controller))
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
            self._form(worker, action)
        elif isinstance(action, Transfer):
            mine = (process.member.holding, process.history)
            self._arrive(worker, action.generation, f"transfer {action.source}", mine)
        elif isinstance(action, Restore):
            self._arrive(worker, action.generation, "restore", None)
        elif isinstance(action, Abort):
            process.waits = False
            self._leave_meetings(worker, action.generation)
        elif isinstance(action, Train):
            self._compute(worker, action.generation)
        elif isinstance(action, Exit):
            self._end(worker)

    def _form(self, worker: int, form: Form) -> None:
        """The main thread takes it up, if it is not out of date by then."""
        process, announcement = self.processes[worker], form.announcement
        if process.member.generation != announcement.generation or not process.alive:
            return
        if self._is_held_up(process):
            process.backlog.append(lambda: self._form(worker, form))
            return
        process.progress += 1
        self.groups[announcement.generation] = announcement.members
        self._arrive(worker, announcement.generation, "form", process.member.holding)

    # ---- collectives

    def _arrive(self, worker: int, generation: int, kind: str, brings: Any) -> None:
        process, members = self.processes[worker], self.groups[generation]
        process.waits = True
        meeting = self.meetings.setdefault((generation, kind), Meeting(members))
        meeting.arrived[worker] = brings
        ended = self.ended.get(generation, ())
        if any(m in ended or not self.processes[m].alive for m in members):
            self._fail_later(worker, generation)
        elif len(meeting.arrived) == len(members):
            self._meet(generation, kind, meeting)

    def _meet(self, generation: int, kind: str, meeting: Meeting) -> None:
        """All have arrived: they get through, unless two of them do not reach each other."""
        for (one, other), until in self.links.items():
            if self.now < until and one in meeting.members and other in meeting.members:
                if not self.schedule.silent:
                    blaming = self.schedule.blaming
                    self._fail_later(one, generation, other if blaming else None)
                    self._fail_later(other, generation, one if blaming else None)
                return
        del self.meetings[generation, kind]
        for one in meeting.members:
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
        if self._is_held_up(process):
            process.waits = False
            process.backlog.append(lambda: self._get_through(worker, generation, kind, meeting))
            return
        member = process.member
        if member.generation != generation or member.phase not in ("forming", "training"):
            return
        process.waits = False
        process.progress += 1
        if kind == "form":
            holdings = dict(meeting.arrived)
            self._do(worker, lambda m: self.member.formed(m, generation, holdings))
        elif kind == "restore":
            self._settle(worker, self.restored.setdefault(generation, self.checkpoint))
        elif kind.startswith("transfer"):
            _, history = meeting.arrived[int(kind.split()[1])]
            self._settle(worker, history)
        elif process.alive:
            self._apply(worker, generation, any(meeting.arrived.values()))

    def _settle(self, worker: int, history: History) -> None:
        process = self.processes[worker]
        member = process.member
        if member.phase != "forming":
            return
        self.rules.begins(member, history)
        process.history = history
        holding = Holding(member.announced.lineage, history[0])
        self._do(worker, lambda m: self.member.settled(m, member.generation, holding))

    def _leave_meetings(self, worker: int, generation: int | None = None) -> None:
        """Whoever waits for ``worker`` in a collective gets an error."""
        for (number, _), meeting in self.meetings.items():
            if generation in (None, number) and worker in meeting.members:
                for other in meeting.arrived:
                    if other != worker:
                        self._fail_later(other, number)
        if generation is not None:
            self.ended.setdefault(generation, set()).add(worker)

    def _fail_later(self, worker: int, generation: int, blames: int | None = None) -> None:
        self.at(
            self.now + self.rng.uniform(0.04, 0.15),
            lambda: self._do(worker, lambda m: self._failed(worker, m, generation, blames)),
        )

    def _failed(self, worker: int, member: Member, generation: int, blames: int | None) -> Any:
        before, process = member, self.processes[worker]
        member, actions = self.member.failed(member, generation, blames)
        if member is not before:
            self._leave_meetings(worker, generation)
            process.waits = False
        return member, actions

    # ---- training

    def _compute(self, worker: int, generation: int) -> None:
        self.at(
            self.now + self.rng.uniform(*UPDATE_S), lambda: self._contribute(worker, generation)
        )

    def _contribute(self, worker: int, generation: int) -> None:
        process = self.processes[worker]
        if self._is_held_up(process):
            process.backlog.append(lambda: self._contribute(worker, generation))
            return
        member = process.member
        if not process.alive or (member.phase, member.generation) != ("training", generation):
            return
        process.progress += 1
        # What it does not know yet the ranks tell each other: any newer announcement counts.
        newer = member.announced.generation > generation
        self._arrive(worker, generation, f"update {process.history[0]}", newer)

    def _apply(self, worker: int, generation: int, newer: bool) -> None:
        process = self.processes[worker]
        member = process.member
        if (member.phase, member.generation) != ("training", generation):
            return
        if not self.member.may_apply(member, generation, process.clock.at(self.now)):
            self._do(worker, lambda m: self._failed(worker, m, generation, None))
            return
        lineage = member.holding.lineage
        process.history = self.rules.applies(lineage, generation, process.history)
        self._do(worker, lambda m: self.member.at_boundary(m, generation, newer=newer))
        if process.member.holding.update != process.history[0]:
            raise RuleBrokenError("a member miscounts its updates")
        self._save(process, lineage, generation)
        if process.alive and process.member.phase == "training":
            self._compute(worker, generation)

    def _save(self, process: Process, lineage: int, generation: int) -> None:
        """Rank 0 writes a checkpoint; one of a lineage that was replaced is refused."""
        first = self.groups[generation][0] == process.member.worker
        current = self.stored is not None and self.stored.lineage == lineage
        if first and current and process.history[0] % CHECKPOINT_EVERY == 0:
            self.checkpoint = process.history

    # ---- rules

    def _check_kill(self, worker: int) -> None:
        """Nobody who works and is heard is ended: a fault of one costs the others no process."""
        process = self.processes[worker]
        able = [p for p in self.processes.values() if p.alive and self.now >= p.hangs_until]
        if (
            self.culprits_are_known
            and len(able) <= self.wanted
            and process.alive
            and worker not in self.touched
            and process.member.phase not in ("warming", "ready", "gone")
        ):
            raise RuleBrokenError(f"worker {worker} is well, but is ended")

    def _check_survivors(self, worker: int) -> None:
        """Those who have lost a peer have a new generation as soon as its connection has ended."""
        if self.controller is None or self.controller.announcement is None:
            return
        members = self.controller.announcement.members
        known = [w.status for id_, w in self.controller.workers.items() if id_ in members]
        if worker in members and known and None not in known:
            raise RuleBrokenError(f"worker {worker} hung up, but its generation goes on")

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
        if len(members) != self.wanted and self.controller.retry_s is None:
            return False
        return all(
            self.processes[m].member.phase == "training"
            and self.processes[m].member.generation == self.stored.generation
            for m in members
        )

    # ---- odds and ends

    def _make_clock(self) -> Clock:
        drift = self.schedule.drift
        return Clock(self.rng.choice((1 - drift, 1.0, 1 + drift)), self.rng.uniform(0, 1000))

    def _is_held_up(self, process: Process) -> bool:
        """Whether its main thread does nothing, or even the whole process."""
        return self.now < process.hangs_until or self.now < process.stalls_until

    def _delay(self) -> float:
        longest = 1.0 if self.now < self.slow_until else DELAY_S[1]
        return self.rng.uniform(DELAY_S[0], longest)

    def _copies(self, worker: int, way: Literal["to", "from"]) -> int:
        lost = self.processes[worker].lost
        if self.now < self.quiet_from and self.rng.random() < self.schedule.loss:
            lost[way] = lost.get(way, 0) + 1
            if lost[way] <= MOST_LOST:
                return 0
        lost[way] = 0
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
