"""A worker's training thread: it does what the membership says, from warm-up to the end."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from absa.collective import ALONE
from absa.errors import DivergenceError
from absa.handover.run import RunAgreed, agree_on_run
from absa.handover.wire import Wire
from absa.loop import Loop, Next, Outcome
from absa.outside import Outside
from absa.run_folder import RunFolder
from absa.standing import Standing, as_values, from_values
from cluster.compose import compose, describe, model_key
from cluster.elastic.group import ElasticGroup, connect, rehearse
from cluster.elastic.meeting import (
    Card,
    ensure_alike,
    ensure_posted_data,
    ensure_same_data,
    meet,
    post_data,
)
from cluster.elastic.membership import Membership
from cluster.elastic.moving import Moving
from cluster.elastic.nobody import NoBoundary, NoSaver
from cluster.elastic.protocol.member import Exit, Form, Holding, Restore, Train, Transfer
from cluster.elastic.protocol.messages import Announcement, WorkerId
from cluster.elastic.resize import Stopwatch, describe_change
from cluster.elastic.surroundings import Place, Surroundings
from cluster.job import Job
from cluster.placed import placed
from cluster.ray_failure import LostPeerError
from cluster.session import begin

NOWHERE = Outside(ALONE, NoBoundary(), NoSaver())
"""What a loop is connected to before its worker has a place."""


@dataclass(frozen=True)
class _Formed:
    """A generation whose members have met and are connected."""

    announcement: Announcement
    cards: Mapping[WorkerId, Card]
    group: ElasticGroup

    @property
    def number(self) -> int:
        """Which one it is."""
        return self.announcement.generation


class Worker:
    """Trains one rank of every generation that it is a member of.

    Args:
        job: The resolved job.
        folder: The run's.
        membership: This worker's line to the coordinator.
        device: To compute on.
        surroundings: What is around this process.
    """

    def __init__(
        self,
        job: Job,
        folder: RunFolder,
        membership: Membership,
        device: torch.device,
        surroundings: Surroundings,
    ) -> None:
        self._job, self._folder, self._membership = job, folder, membership
        self._device, self._surroundings = device, surroundings
        self._formed: _Formed | None = None
        self._before: Announcement | None = None
        self._lineage: int | None = None
        self._is_new = True  # as it was composed: nothing was received into it or trained
        self._watch, self._broken = Stopwatch(), False
        self._composed = compose(job, device)
        self._loop = self._new_loop()

    def run(self) -> Outcome | None:
        """Train to the end of the run, or until this worker leaves it.

        Returns:
            How the run ended; None if it goes on without this worker.

        Raises:
            CutOffError: This worker was given up, or the coordinator is gone.
            AbsaError: The run cannot go on.
        """
        ensure_posted_data(self._membership.store(), self._data())
        self._warm_up()
        self._membership.warmed_up()
        try:
            while True:
                match self._membership.next_action():
                    case Form(announcement):
                        self._unless_lost(announcement.generation, self._form, announcement)
                    case Transfer(generation, source):
                        self._unless_lost(generation, self._transfer, source)
                    case Restore(generation):
                        self._unless_lost(generation, self._restore)
                    case Train(generation):
                        outcome: Outcome | None = self._unless_lost(generation, self._train)
                        if outcome is not None:
                            self._membership.farewell()
                            return outcome
                    case Exit():
                        return None
        finally:
            self._leave_group()
            self._loop.close()

    def _unless_lost(self, generation: int, do: Callable[..., Any], *arguments: Any) -> Any:
        """Do a part of a generation; if a peer is lost on the way, its members meet again."""
        try:
            return do(*arguments)
        except LostPeerError:
            self._broken = True
            self._membership.failed(generation)
            return None

    def _warm_up(self) -> None:
        """Do once, while nobody waits, what is slow the first time."""
        rehearse(self._membership.ip, self._device)
        with placed(self._job, model_key(self._job)):
            self._loop.rehearse(world_size=max(self._job.workers.max or 1, 2))

    def _form(self, announcement: Announcement) -> None:
        """Meet the other members and connect with them."""
        self._leave_group()
        with self._watch.phase("meeting"):
            cards = meet(self._membership, announcement, self._card())
            ensure_same_data(cards, announcement.members[0], self._membership.worker)
        members = announcement.members
        rank = members.index(self._membership.worker)
        with self._watch.phase("group"):
            group = connect(
                self._membership, announcement.generation, rank, len(members), self._device
            )
        self._formed = _Formed(announcement, cards, group)
        holdings = {worker: card.holding for worker, card in cards.items()}
        self._membership.formed(announcement.generation, holdings)

    def _card(self) -> Card:
        return Card(self._holding(), self._surroundings.node, self._data())

    def _data(self) -> list[object]:
        return self._composed.data

    def _holding(self) -> Holding | None:
        if self._lineage is None:
            return None
        return Holding(self._lineage, self._loop.position)

    def _restore(self) -> None:
        """Begin a lineage: from the newest checkpoint, or anew."""
        group = self._now.group
        if not self._is_new:
            # What was built is no beginning any more.
            self._lineage = None
            self._loop.close()
            self._composed = compose(self._job, self._device)
            self._loop = self._new_loop()
        self._is_new = False
        outside = self._outside()  # from here on an error is one of the run's, not of a newcomer's
        # What was composed again may have come out otherwise than what the members met with.
        ensure_alike(self._data(), group.broadcast_value(self._data(), source=0))
        beginning = begin(self._job, self._composed, self._folder, group)
        model = self._composed.replica.model
        with torch.no_grad():
            # A model of the user's need not be built reproducibly.
            group.broadcast(list(model.state_dict().values()), source=0)
        self._loop.join(outside, beginning.state, {"standing": as_values(Standing())})
        about = describe(self._composed, self._job, group.world_size)
        about |= {"run": self._folder.name, "resumed_from": beginning.checkpoint}
        self._loop.start(about)
        if group.rank == 0:
            post_data(self._membership.store(), self._data())
        self._watch.read()
        self._settle()

    def _transfer(self, source: int) -> None:
        """Stand where the source stands."""
        now = self._now
        with self._watch.phase("transfer"):
            agreed = self._agree(source)
            moving = self._may_move_meanwhile(agreed)
            if not moving:
                agreed.finish()
        self._loop.join(self._outside(), agreed.state, agreed.values)
        seconds, phases = self._watch.read()
        if self._before is not None:
            changed = describe_change(self._before, now.announcement, lost=self._broken)
            self._loop.record("resize", **changed, seconds=seconds, phases=phases)
        had_state = self._lineage is not None
        self._settle()
        if moving:
            self._lineage = now.announcement.lineage if had_state else None
            now.group.move_meanwhile(Moving(agreed, self._has_arrived), agreed.num_current)

    def _may_move_meanwhile(self, agreed: RunAgreed) -> bool:
        """Whether those who have the state can make an update while the others receive it.

        All ranks decide alike: it hangs on nothing but what all of them know.
        """
        standing = from_values(agreed.values["standing"])
        between_updates = standing.boundary is None and standing.ending is None
        somebody_is_new = 0 < agreed.num_current < self._now.group.world_size
        return somebody_is_new and between_updates and self._device.type == "cpu"

    def _has_arrived(self) -> None:
        self._lineage = self._now.announcement.lineage

    def _agree(self, source: int) -> RunAgreed:
        """Find out who gives the state to whom."""
        now, mine = self._now, self._holding()
        theirs = now.cards[source].holding
        assert theirs is not None, "the source has the state"
        has_it = mine is not None and mine.lineage == theirs.lineage
        held = self._loop.hand_over() if has_it else None
        if not has_it:
            # Until all has come, its tensors are no state, and no beginning either.
            self._lineage, self._is_new = None, False
        return agree_on_run(
            self._composed.replica,
            held,
            Wire(now.group, now.group.device),
            now.announcement.members.index(source),
            current=mine == theirs,
        )

    def _settle(self) -> None:
        loop, announcement = self._loop, self._now.announcement
        self._lineage, self._before, self._broken = announcement.lineage, announcement, False
        holding = Holding(announcement.lineage, loop.position)
        self._membership.settled(announcement.generation, holding)

    def _train(self) -> Outcome | None:
        """Make updates until the run ends or another generation is announced."""
        loop, generation = self._loop, self._now.number
        self._membership.wait_for_lease()
        try:
            with placed(self._job, model_key(self._job)):
                then: Next = "update"
                while then == "update":
                    then = loop.step()
                    self._membership.reached(loop.position)
                    self._watch.trained()
                if then == "end":
                    return self._end(loop)
        except DivergenceError:
            self._hold()
            raise
        self._membership.left_for_newer(generation)
        return None

    def _end(self, loop: Loop) -> Outcome:
        outcome = loop.end()
        group = self._now.group
        if group.rank == 0:
            self._surroundings.flush()
        # Until rank 0 has written all, the others may still have to do it in its place.
        group.broadcast_value(None, source=0)
        return outcome

    def _hold(self) -> None:
        """Let rank 0's last records arrive before the first worker's error ends the run."""
        group = self._now.group
        if group.rank == 0:
            self._surroundings.flush()
        with contextlib.suppress(LostPeerError):
            group.broadcast_value(None, source=0)

    def _outside(self) -> Outside:
        now = self._now
        lineage = self._membership.first_lineage + now.announcement.lineage
        nodes = tuple(card.node for card in now.cards.values())
        place = Place(lineage, now.number, now.group.rank, nodes)
        boundary, saver = self._surroundings.enter(place)
        return Outside(now.group, boundary, saver, lineage, now.number)

    def _new_loop(self) -> Loop:
        composed = self._composed
        return Loop(
            composed.replica,
            composed.instruments,
            composed.rules,
            NOWHERE,
            composed.start,
        )

    @property
    def _now(self) -> _Formed:
        """The generation that this worker is in."""
        assert self._formed is not None
        return self._formed

    def _leave_group(self) -> None:
        if self._formed is not None:
            self._formed.group.leave()
            self._formed = None
