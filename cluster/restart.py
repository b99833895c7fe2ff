"""``elastic.mode: restart``: another number of workers by a new worker group.

Only what Ray Train promises in public: the group is asked to end at its next boundary with a
checkpoint, and a new trainer with another number of workers goes on from there in a new lineage.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from absa.boundary import Command
from absa.events import Record
from cluster.controller import LOST_GROUP, Controller
from cluster.elastic.wish import Wanted
from cluster.side_thread import SideThread


class Room(Protocol):
    """Room for some more workers, which the cluster was asked for."""

    num_workers: int

    def is_there(self) -> bool:
        """Return whether all of it was given."""
        ...

    def release(self) -> None:
        """Give it back, or take the demand back."""
        ...


@dataclass(frozen=True)
class Group:
    """A worker group that is to be started.

    Args:
        num_workers: Its workers.
        lineage: Of the weights that it begins; None: the run's first.
        num_lost: How often a group of this run was lost before.
    """

    num_workers: int
    lineage: int | None = None
    num_lost: int = 0


@dataclass(frozen=True)
class Starters:
    """How to get groups, and room for them.

    Args:
        group: Starts a worker group in the background.
        room: Asks the cluster for room for so many workers more.
        patience_s: How long the cluster may take to give it (``elastic.start_s``).
    """

    group: Callable[[Group], SideThread]
    room: Callable[[int], Room]
    patience_s: float


class RestartTraining:
    """Trains with one worker group after another; a `Training`.

    Args:
        starters: How to get groups.
        controller: The controller.
        num_workers: Of the first group.
    """

    def __init__(self, starters: Starters, controller: Controller, num_workers: int) -> None:
        self._starters, self._controller = starters, controller
        self._workers = num_workers
        self._num_lost = 0
        self._trains = False
        """The group of now has begun to train."""
        self._asked: Wanted | None = None
        """What the group of now was told to end for."""
        self._awaited: _Awaited | None = None
        self._given_up: Wanted | None = None
        """What the cluster did not deliver; it is not tried again until something else is said."""
        self._last_update_s = time.time()
        self._change: _Change | None = None
        self._fit = starters.group(Group(num_workers))

    @property
    def error(self) -> BaseException | None:
        """What the last group failed with."""
        return self._fit.error

    @property
    def is_resizing(self) -> bool:
        """Whether the group of now was told to end for another."""
        return self._asked is not None

    def has_ended(self, timeout_s: float) -> bool:
        """Wait for the end of the group of now; return whether it has come."""
        self._fit.join(timeout_s)
        return not self._fit.is_alive()

    def take(self, record: Record) -> None:
        """Follow what the group does."""
        match record["event"]:
            case "observation" | "evaluation":
                self._last_update_s = record["time"]
            case "fault" if record["what"] == LOST_GROUP:
                self._num_lost += 1
            case "run_started":
                self._trains = True
                if self._change is not None:
                    self._controller.note(self._change.record(record))
                    self._change = None
                elif self._asked is not None:
                    self._ask(self._asked)  # the group that was asked first is lost

    def steer(self, wanted: Wanted) -> None:
        """Ask the group to end when the room for another number of workers is there."""
        if wanted != self._given_up:
            self._given_up = None
        if not self._trains or self._asked is not None or self._given_up is not None:
            return
        if wanted.workers <= self._workers:
            self._withdraw()
        if wanted.workers < self._workers or (
            wanted.workers > self._workers and self._has_room(wanted)
        ):
            self._ask(wanted)

    def start_next(self, wanted: Wanted) -> int:
        """Start the next group after one has ended that was told to.

        Args:
            wanted: What is wanted by now; no more than there is room for is started.

        Returns:
            The number of its workers.
        """
        assert self._asked is not None
        num_workers = min(wanted.workers, max(self._workers, self._asked.workers))
        cause = wanted if wanted.workers == num_workers else self._asked
        self._change = _Change(
            self._workers, num_workers, cause.reason, self._last_update_s, time.time()
        )
        self._withdraw()
        self._workers, self._asked, self._trains = num_workers, None, False
        lineage = self._controller.expect_group()
        self._fit = self._starters.group(Group(num_workers, lineage, self._num_lost))
        return num_workers

    def close(self) -> None:
        """Take back the demand for more workers."""
        self._withdraw()

    def _ask(self, wanted: Wanted) -> None:
        self._asked = wanted
        self._controller.command(Command(f"resized to {wanted.workers} workers", stop="resized"))

    def _has_room(self, wanted: Wanted) -> bool:
        """Return whether there is room for more workers; give up when it takes too long."""
        more = wanted.workers - self._workers
        if self._awaited is None or self._awaited.room.num_workers != more:
            self._withdraw()
            self._awaited = _Awaited(self._starters.room(more))
        if self._awaited.room.is_there():
            return True
        limit_s = self._starters.patience_s
        if self._awaited.age_s() > limit_s:
            self._withdraw()
            self._given_up = wanted
            self._controller.note(_not_delivered(wanted, self._workers, limit_s))
        return False

    def _withdraw(self) -> None:
        if self._awaited is not None:
            self._awaited.room.release()
            self._awaited = None


class _Awaited:
    """Room that the cluster was asked for."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._since_s = time.monotonic()

    def age_s(self) -> float:
        """Return how long ago it was asked for."""
        return time.monotonic() - self._since_s


class _Change:
    """A resize that is under way.

    Args:
        before: Workers of the group that has ended.
        after: Workers of the next one.
        reason: Why.
        last_s: End of its last update, Unix time.
        ended_s: When all of it had ended.
    """

    def __init__(self, before: int, after: int, reason: str, last_s: float, ended_s: float) -> None:
        self._before, self._after, self._reason = before, after, reason
        self._last_s, self._ended_s = last_s, ended_s

    def record(self, started: Record) -> Record:
        """Return the journal's record, given the new group's first one."""
        first_s = started["time"]
        phases = {"end": self._ended_s - self._last_s, "start": first_s - self._ended_s}
        return {
            "event": "resize",
            **{key: started[key] for key in ("time", "generation", "update", "samples")},
            "before": self._before,
            "after": self._after,
            "joined": max(0, self._after - self._before),
            "left": max(0, self._before - self._after),
            "lost": 0,
            "reason": self._reason,
            # The clocks may be those of two machines.
            "seconds": max(0.0, first_s - self._last_s),
            "phases": {name: max(0.0, seconds) for name, seconds in phases.items()},
        }


def _not_delivered(wanted: Wanted, workers: int, limit_s: float) -> Record:
    return {
        "event": "fault",
        "what": f"{wanted.workers} workers did not come",
        "detail": f"{wanted.reason}; the cluster did not give them within elastic.start_s = "
        f"{limit_s:g} s; training goes on with {workers}",
    }
