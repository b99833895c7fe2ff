"""Hands the state of a run over, from the replicas that have it to those that lack it."""

from collections.abc import Mapping

from torch import Tensor

from absa.handover.hand_over import hand_over
from absa.handover.layout import Layout
from absa.handover.stake import Stake
from absa.handover.wire import Wire
from absa.run_state import RunState, adopt, beside, make_room
from absa.state import Json, StateTree
from absa.update.replica import Replica


def hand_over_run(
    replica: Replica, held: StateTree | None, wire: Wire, source: int, *, current: bool
) -> tuple[RunState, Mapping[str, Json]]:
    """Return the state that this rank trains on from; its replica's tensors then stand there.

    A new rank receives into its live tensors: if this fails, they are neither one state nor the
    other. A rank that is behind receives beside them and changes at the end, so it can still be
    the source of another hand-over if all that were ahead of it are lost.

    Args:
        replica: This rank's.
        held: Its state, gathered from that replica; None: the rank is new.
        wire: The ranks of the new group.
        source: A rank that has the current state.
        current: Whether this rank has it too.

    Returns:
        What evolves beside the tensors, and all values of the source's tree.

    Raises:
        ResizeError: The ranks' jobs are not the same; all raise it, and nothing has changed.
    """
    if held is None:
        stake = Stake(places=lambda layout: make_room(replica, layout.forms, layout.values))
    else:
        stake = Stake(held, current, lambda layout: _aside(replica, layout))
    tree = hand_over(stake, wire, source)
    state = beside(tree) if current else adopt(replica, tree)
    return state, tree.values


def _aside(replica: Replica, layout: Layout) -> Mapping[str, Tensor]:
    """Refuse what the replica could not adopt; let all the rest be received beside it."""
    make_room(replica, layout.forms, layout.values)
    return {}
