"""Hands the state of a run over, from the replicas that have it to those that lack it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from absa.handover.hand_over import agree
from absa.handover.layout import Layout
from absa.handover.stake import Stake
from absa.handover.wire import Wire
from absa.run_state import RunState, adopt, beside, make_room
from absa.state import Json, StateTree
from absa.update.replica import Replica


@dataclass(frozen=True)
class RunAgreed:
    """A run's hand-over that all ranks take part in.

    Args:
        state: What evolves beside the tensors, on all ranks from now on.
        values: All values of the source's tree.
        num_current: See `Agreed`.
        move: See `Agreed`.
        adopt: Called with what ``move`` returned, in the thread that trains: the replica's tensors
            then stand where the source's do.
    """

    state: RunState
    values: Mapping[str, Json]
    num_current: int
    move: Callable[[], StateTree]
    adopt: Callable[[StateTree], object]

    def finish(self) -> None:
        """Move the tensors at once."""
        self.adopt(self.move())


def agree_on_run(
    replica: Replica, held: StateTree | None, wire: Wire, source: int, *, current: bool
) -> RunAgreed:
    """Find out who gives what to whom; every rank of the group calls.

    A new rank receives into its live tensors: if this fails, they are neither one state nor the
    other. A rank that is behind receives beside them and changes at the end, so it can still be
    the source of another hand-over if all that were ahead of it are lost.

    Args:
        replica: This rank's.
        held: Its state, gathered from that replica; None: the rank is new.
        wire: The ranks of the new group.
        source: A rank that has the current state.
        current: Whether this rank has it too.

    Raises:
        ResizeError: The ranks' jobs are not the same; all raise it, and nothing has changed.
    """
    if held is None:
        stake = Stake(places=lambda layout: make_room(replica, layout.forms, layout.values))
    else:
        stake = Stake(held, current, lambda layout: _aside(replica, layout))
    agreed = agree(stake, wire, source)
    state = beside(agreed.values)
    changes = (lambda tree: None) if current else (lambda tree: adopt(replica, tree))
    return RunAgreed(state, agreed.values, agreed.num_current, agreed.move, changes)


def _aside(replica: Replica, layout: Layout) -> Mapping[str, Tensor]:
    """Refuse what the replica could not adopt; let all the rest be received beside it."""
    make_room(replica, layout.forms, layout.values)
    return {}
