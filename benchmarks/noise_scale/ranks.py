"""Runs a function on ranks of this machine that talk by gloo."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from absa.collective import ALONE, Collective, ProcessGroup
from absa.host_memory import keep_freed_memory
from benchmarks.group import free_port

Result = TypeVar("Result")


def on_ranks(num_ranks: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Return what ``function(collective, *arguments)`` returns on rank 0.

    Args:
        num_ranks: One runs in a process of its own too: ours set threads and the allocator.
        function: Of a module, so that it can be found by name.
        arguments: The same on every rank.
    """
    queue = mp.get_context("spawn").SimpleQueue()
    everything = (num_ranks, free_port(), queue, function, arguments)
    context = mp.spawn(_rank, everything, nprocs=num_ranks, join=False)
    assert context is not None
    # Read first: who has put a long result waits until it is read.
    while queue.empty():
        if context.join(timeout=0.2):
            break
    result: Result = queue.get()
    while not context.join():
        pass
    return result


def _rank(
    rank: int,
    num_ranks: int,
    port: int,
    queue: Any,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(max((os.cpu_count() or 1) // num_ranks, 1))
    keep_freed_memory()
    collective: Collective = ALONE
    if num_ranks > 1:
        dist.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=num_ranks
        )
        group = dist.group.WORLD
        assert group is not None
        collective = ProcessGroup(group)
    result = function(collective, *arguments)
    if rank == 0:
        queue.put(result)
    if num_ranks > 1:
        dist.destroy_process_group()
