"""Ranks that are threads of one process, and meet at a barrier."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

PATIENCE_S = 30


@dataclass
class ThreadRank:
    """One rank's view of the group; only what a measurement uses."""

    rank: int
    world_size: int
    barrier: threading.Barrier
    messages: list

    def broadcast(self, tensors, source):
        if self.rank == source:
            self.messages[:] = [tensor.clone() for tensor in tensors]
        self.barrier.wait(PATIENCE_S)
        for tensor, message in zip(tensors, self.messages, strict=True):
            tensor.copy_(message)
        self.barrier.wait(PATIENCE_S)


def on_ranks(world_size, work):
    """Return what ``work(rank)`` returns on each of the ranks, all at work at once."""
    barrier, messages = threading.Barrier(world_size), []
    ranks = [ThreadRank(rank, world_size, barrier, messages) for rank in range(world_size)]
    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(work, ranks))
