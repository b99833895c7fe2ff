"""What a change cannot be faster than: a new process group, and the state once over the loopback.

Both are measured alone, by processes that do nothing else: a gloo group through a `TCPStore` that
listens on the loopback only, and a gloo broadcast of as many bytes as the state has.
"""

import os
import socket
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.resize_stall.cases import Change, Size

ROUNDS, WARMUP = 10, 2
_TIMEOUT = timedelta(seconds=60)


@dataclass(frozen=True)
class Floor:
    """What was measured for groups of one number of workers.

    Args:
        workers: Ranks of the group, >= 2.
        group_s: Seconds to make the group; of the slowest rank, once per round.
        broadcast_s: State bytes to the seconds of their broadcast, the same way.
    """

    workers: int
    group_s: tuple[float, ...]
    broadcast_s: dict[int, tuple[float, ...]]

    def bytes_per_s(self, num_bytes: int) -> float:
        """Return the median bandwidth of a broadcast to all ranks."""
        return num_bytes / statistics.median(self.broadcast_s[num_bytes])


def floor_s(change: Change, size: Size, floors: Iterable[Floor]) -> float:
    """Return the seconds that a change must take: the group, and the state if somebody joins.

    A group of one needs neither.
    """
    if change.after == 1:
        return 0.0
    (floor,) = (each for each in floors if each.workers == change.after)
    seconds = statistics.median(floor.group_s)
    if change.after > change.before:
        seconds += size.state_bytes / floor.bytes_per_s(size.state_bytes)
    return seconds


def measure_floor(workers: int, sizes: Sequence[Size]) -> Floor:
    """Measure the floor of groups of ``workers`` processes, for the states of ``sizes``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        store = dist.TCPStore(
            "127.0.0.1",
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=_TIMEOUT,
            master_listen_fd=os.dup(listener.fileno()),
        )
    context = mp.get_context("spawn")
    queue, barrier = context.SimpleQueue(), context.Barrier(workers)
    state_bytes = [size.state_bytes for size in sizes]
    mp.spawn(_rank, (workers, port, state_bytes, barrier, queue), nprocs=workers)
    measured = [queue.get() for _ in range(workers)]
    del store  # it had to live until here
    return Floor(
        workers,
        _slowest(each[0] for each in measured),
        {n: _slowest(each[1][n] for each in measured) for n in state_bytes},
    )


def _slowest(by_rank: Iterable[Sequence[float]]) -> tuple[float, ...]:
    return tuple(max(rounds) for rounds in zip(*by_rank, strict=True))


def _rank(
    rank: int, workers: int, port: int, state_bytes: list[int], barrier: Barrier, queue: Any
) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=_TIMEOUT)
    group_s = []
    for number in range(ROUNDS + WARMUP):
        barrier.wait()
        begin = time.perf_counter()
        prefixed = dist.PrefixStore(f"group-{number}", store)
        dist.init_process_group(
            "gloo", store=prefixed, rank=rank, world_size=workers, timeout=_TIMEOUT
        )
        group_s.append(time.perf_counter() - begin)
        if number < ROUNDS + WARMUP - 1:
            dist.destroy_process_group()
    broadcast_s = {n: _broadcasts(n, barrier)[WARMUP:] for n in state_bytes}
    queue.put((group_s[WARMUP:], broadcast_s))
    barrier.wait()  # nobody leaves while another still receives
    dist.destroy_process_group()


def _broadcasts(num_bytes: int, barrier: Barrier) -> list[float]:
    state = torch.zeros(num_bytes // 4)
    seconds = []
    for _ in range(ROUNDS + WARMUP):
        barrier.wait()
        begin = time.perf_counter()
        dist.broadcast(state, 0)
        seconds.append(time.perf_counter() - begin)
    return seconds
