"""What the coordinator knows, how long it waits for what, and what it can have done."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.elastic.protocol.messages import Announcement, Status, WorkerId


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the coordinator waits for what; all in seconds but ``patience``.

    Args:
        lease_s: How long a member may train without hearing from the coordinator.
        margin_s: How much longer the coordinator waits before it takes a silent member for dead.
            A clock may run up to ``1 + margin_s / lease_s`` times as fast as another.
        start_s: For a newcomer to be ready, the arrival of its node included; and, where nobody
            has the state, for the others once one is ready.
        gather_s: For other newcomers, once one is ready: those that join together cost one
            interruption.
        form_s: For a word to be followed, and for members that all wait for one another while
            they form a generation. More than a lease and its margin, as ``stall_s``: whoever is
            silent is found first.
        suspect_s: For news of a death, once a member has reported that its generation is broken;
            twice as long after each that broke without one, and at most 64 times.
        stall_s: For a main thread to get anything done: longer than the longest stretch of an
            update, an evaluation or a checkpoint in which its progress is not counted. And for
            members that all wait for one another while they train.
        retry_s: For workers that did not come, or were dropped, to be asked for again; twice as
            long after each time it was in vain, and at most 16 times.
        patience: Generations in a row that may break without a death or an update before a member
            is dropped; newcomers in a row that may be lost before no more are asked for.
    """

    lease_s: float = 10.0
    margin_s: float = 2.5
    start_s: float = 300.0
    gather_s: float = 5.0
    form_s: float = 60.0
    suspect_s: float = 0.5
    stall_s: float = 600.0
    retry_s: float = 300.0
    patience: int = 3


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
        moved_s: When its status last said anything new.
        ready_s: When it was first known to be ready, or None.
        status: The newest one, or None.
    """

    since_s: float
    heard_s: float
    moved_s: float
    ready_s: float | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Coordinator:
    """What the coordinator knows.

    Args:
        limits: How long it waits for what.
        wanted: Workers that there should be.
        least: Workers with which a generation that nobody brings the state to may begin, if the
            others do not come.
        announcement: The newest generation, or None before the first.
        announced_s: When it was announced.
        workers: Those that live, as far as it knows.
        num_starting: Workers asked for that have no id yet.
        asked_s: When they were asked for.
        broken_s: When the newest generation was first known to be broken, or None.
        lost_leaver: A worker that should have left for the newest generation was lost before that
            generation trained: its peers may wait for it at their last boundary.
        num_broken: Generations in a row that broke without a death and without an update.
        num_lost: Newcomers in a row that were lost before they joined.
        num_setbacks: How often in a row it gave up for a while on having all that are wanted.
        num_noted: Missing workers that the journal knows of.
        retry_s: When it asks again for workers it gave up on, or None.
        ended: Workers that have ended or that this coordinator has ended: what they still say is
            late.
    """

    limits: Limits
    wanted: int
    least: int = 1
    announcement: Announcement | None = None
    announced_s: float = 0.0
    workers: Mapping[WorkerId, Worker] = field(default_factory=dict)
    num_starting: int = 0
    asked_s: float = 0.0
    broken_s: float | None = None
    lost_leaver: bool = False
    num_broken: int = 0
    num_lost: int = 0
    num_setbacks: int = 0
    num_noted: int = 0
    retry_s: float | None = None
    ended: frozenset[WorkerId] = frozenset()


Step = tuple[Coordinator, tuple[Action, ...]]
