"""Where the ranks of a worker group lie."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ranks:
    """The numbers of one worker in its group, as `torchrun` defines them.

    Args:
        rank: In the group.
        world_size: Workers in the group.
        local_rank: On its node.
        local_world_size: Workers of the group on its node.
        node_rank: Of its node; the node of rank 0 is 0.
    """

    rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int


def ranks(nodes: Sequence[str]) -> tuple[Ranks, ...]:
    """Return the numbers of all workers of a group.

    Args:
        nodes: The node of each worker, in the order of ranks; workers of one node need not be
            neighbours.

    Returns:
        One entry per worker. Nodes are numbered in the order in which they first appear, and the
        workers of a node in the order of their ranks.
    """
    order = list(dict.fromkeys(nodes))
    return tuple(
        Ranks(
            rank=rank,
            world_size=len(nodes),
            local_rank=nodes[:rank].count(node),
            local_world_size=nodes.count(node),
            node_rank=order.index(node),
        )
        for rank, node in enumerate(nodes)
    )
