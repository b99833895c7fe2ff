"""Ranks that are threads, whose collectives fail on purpose, and who then meet in another group."""

import itertools
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine import PATIENCE_S, ThreadRank
from outside import FakeBoundary, Run
from torch import Tensor

from absa.boundary import Command
from absa.handover.run import agree_on_run
from absa.handover.wire import Wire
from absa.loop import Next, Outcome
from absa.outside import Outside


class LostError(Exception):
    """A collective failed on this rank."""


class Meeting:
    """Where the threads of one group meet.

    A collective that all ranks have begun succeeds on every rank, except where it is to fail.

    Args:
        world_size: The number of ranks.
        failing: By rank, the number of the collective that fails there, counted from 0.
    """

    def __init__(self, world_size: int, failing: Mapping[int, int] | None = None) -> None:
        self._failing, self.ranks = dict(failing or {}), range(world_size)
        self._brought: list[list[Any]] = [[] for _ in self.ranks]
        self._gone: set[int] = set()
        self._changed = threading.Condition()
        pairs = itertools.product(self.ranks, repeat=2)
        self.mail: dict[Any, queue.Queue[Tensor]] = {pair: queue.Queue() for pair in pairs}

    @property
    def num_collectives(self) -> int:
        return min(map(len, self._brought))

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Return what every rank brought to this rank's next collective."""
        with self._changed:
            number = len(self._brought[rank])
            self._brought[rank].append(value)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_decided(number), timeout=PATIENCE_S)
            if self._failing.get(rank) == number or not self._is_complete(number):
                raise LostError(f"collective {number} failed on rank {rank}")
            return [brought[number] for brought in self._brought]

    def leave(self, rank: int) -> None:
        """Take part in nothing more."""
        with self._changed:
            self._gone.add(rank)
            self._changed.notify_all()

    def _is_complete(self, number: int) -> bool:
        return all(len(brought) > number for brought in self._brought)

    def _is_decided(self, number: int) -> bool:
        return self._is_complete(number) or any(
            len(self._brought[rank]) <= number for rank in self._gone
        )


class BreakingRank:
    """A `Collective` of one thread; another group can be announced, and its time can be over."""

    start_sum, broadcast = ThreadRank.start_sum, ThreadRank.broadcast
    broadcast_value = ThreadRank.broadcast_value
    start_send, start_receive = ThreadRank.start_send, ThreadRank.start_receive

    def __init__(self, rank: int, world_size: int, meeting: Meeting) -> None:
        self.rank, self.world_size, self.meeting = rank, world_size, meeting
        self.superseded, self.num_computing = False, world_size
        self.sizes: list[int] = []

    def ensure_current(self) -> None:
        """This group goes on until a collective fails."""


class LaterBoundary(FakeBoundary):
    """Gives a command that is planned for an update once the loop has come to that update."""

    def __init__(self, commands: Mapping[int, Command], updates: Callable[[], int]) -> None:
        super().__init__(dict(commands))
        self._updates = updates

    def waiting(self) -> bool:
        return any(number <= self._updates() + 1 for number in self.commands)


@dataclass
class Survivor:
    """A rank that goes on in another group when a collective of its own has failed.

    Args:
        run: Its loop and what that is connected to; the same boundary and saver in every group.
        between: Where survivors agree who is the source; it never fails.
        groups: The groups, one after the other.
    """

    run: Run
    rank: int
    between: Meeting
    groups: list[Meeting]
    outcome: Outcome | None = None
    num_lost: int = 0

    def train(self) -> None:
        """Train to the end, through as many groups as it takes."""
        group = self.groups[0]
        self.enter(group)
        self.run.loop.start({})
        for later in [*self.groups[1:], None]:
            try:
                self.outcome = self._to_the_end(group)
                assert later is None or self.num_lost == 0
                break
            except LostError:
                self.num_lost += 1
                group.leave(self.rank)
            assert later is not None, "there is no other group"
            group = later
            self.go_over(group)
        self.run.loop.close()

    def _to_the_end(self, group: Meeting) -> Outcome:
        loop = self.run.loop
        then: Next = "update"
        while then == "update":
            then = loop.step()
        outcome = loop.end()
        group.exchange(self.rank, None)  # until then the others may still need this rank
        return outcome

    def go_over(self, group: Meeting) -> None:
        """Stand where the rank stands that is furthest ahead, in another group."""
        loop = self.run.loop
        positions = self.between.exchange(self.rank, loop.position)
        newest = max(positions)
        wire = Wire(BreakingRank(self.rank, len(positions), group))
        agreed = agree_on_run(
            self.run.replica,
            loop.hand_over(),
            wire,
            positions.index(newest),
            current=loop.position == newest,
        )
        agreed.finish()
        loop.join(self._outside(group), agreed.state, agreed.values)

    def enter(self, group: Meeting) -> None:
        """Begin in a group."""
        self.run.loop._training.outside = self._outside(group)

    def _outside(self, group: Meeting) -> Outside:
        self.collective = BreakingRank(self.rank, len(self.between.ranks), group)
        return Outside(self.collective, self.run.boundary, self.run.saver, lineage=2, generation=5)


def in_threads(work: Sequence[Callable[[], None]]) -> None:
    """Call all at once; raise the first failure."""
    failures: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
