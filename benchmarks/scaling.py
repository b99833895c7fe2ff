"""What a grown batch buys: samples per second against batch and ranks.

On one machine, through our loop. *Growth*: a batch beside the first one, on as many ranks: an
update's fixed costs (the sum over ranks, the optimizer's step, the loop) are shared by more
samples. *Strong*: ranks beside one rank at the same batch. *Weak*: ranks beside one
rank at the same batch per rank. Rank 0 alone has all cores, so on a CPU ranks compete for what one
rank had; they show what more machines would cost in communication, not what they would gain.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from absa.collective import Collective, ProcessGroup, SingleProcess
from absa.settings import Settings
from benchmarks.engine_overhead import CASES, Case, our_loop
from benchmarks.group import free_port, join
from benchmarks.measure import Row, alternate, arguments, compare, cuda_s, report, wall_s

FIRST = 128
"""The batch that growth begins with, and what goes through the model at once on a CPU."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        batches: Global batches, the first one first.
        rounds: Timings of each.
        samples: That are timed at a time, at least a batch.
    """

    batches: tuple[int, ...]
    rounds: int
    samples: dict[str, int]


SIZES = {
    "quick": Size((128, 256, 1024), 3, {"resnet20": 1024, "mlp 784-256-128-10": 16384}),
    "usual": Size((128, 256, 1024, 2048), 7, {"resnet20": 2048, "mlp 784-256-128-10": 32768}),
    "full": Size(
        (128, 256, 1024, 2048, 4096, 8192), 15, {"resnet20": 8192, "mlp 784-256-128-10": 65536}
    ),
}

Cell = tuple[int, int]
"""Ranks and global batch."""


def time_cells(rank: int, world_size: int, port: int, size: Size, queue: Any) -> None:
    """Time all cells of all networks; rank 0 puts the rows into ``queue``."""
    device = join(rank, world_size, port)
    clock = cuda_s if device.type == "cuda" else wall_s
    rows: list[Row] = []
    for case in CASES:
        cells = [(ranks, batch) for ranks in range(1, world_size + 1) for batch in size.batches]
        calls = {
            str(cell): _call(case, cell, rank, size.samples[case.name], device) for cell in cells
        }
        times = alternate(calls, size.rounds, clock)
        speeds = {
            cell: [size.samples[case.name] / seconds for seconds in times[str(cell)]]
            for cell in cells
        }
        rows += compared(case.name, speeds, device.type)
    if rank == 0:
        queue.put(rows)
    dist.destroy_process_group()


def _call(
    case: Case, cell: Cell, rank: int, samples: int, device: torch.device
) -> Callable[[], None]:
    """Return a call that trains on so many samples, in which other ranks only wait."""
    ranks, batch = cell
    group = dist.group.WORLD
    assert group is not None
    collective: Collective = SingleProcess() if ranks == 1 else ProcessGroup(group)
    threads = max((os.cpu_count() or 1) // ranks, 1)
    takes_part = rank < ranks
    # A GPU takes a rank's whole share at once, a CPU gains nothing by that.
    micro = FIRST if device.type == "cpu" else batch // ranks
    group_samples = FIRST // dist.get_world_size()
    sized = replace(case, micro_batch=group_samples, block=samples // batch)
    settings = Settings(batch, micro)
    block = our_loop(sized, collective, device, settings) if takes_part else None

    def call() -> None:
        if block is not None:
            torch.set_num_threads(threads)
            block()
        dist.barrier()

    return call


def compared(name: str, speeds: dict[Cell, list[float]], device: str) -> list[Row]:
    """Return what growth, and what ranks, make of the samples per second.

    Args:
        name: Of the network.
        speeds: Samples per second of each round, by cell.
        device: What computes.
    """
    first = min(batch for _, batch in speeds)
    rows = []
    for (ranks, batch), ours in speeds.items():
        words = f"{name}, {device}, {ranks} rank{'s' * (ranks > 1)}, batch {batch}"
        others = {
            f"batch {first} (growth)": (ranks, first),
            "1 rank (strong)": (1, batch),
            "1 rank, as many samples each (weak)": (1, batch // ranks),
        }
        for peer, cell in others.items():
            own = cell == (ranks, batch) or (ranks == 1 and "rank" in peer)
            if cell in speeds and not own:
                rows.append(compare(words, "samples/s", ours, speeds[cell], peer, None))
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    given = arguments("scaling", __doc__ or "", argv)
    num_ranks = torch.cuda.device_count() if torch.cuda.is_available() else 2
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(time_cells, (num_ranks, free_port(), SIZES[given.size], queue), nprocs=num_ranks)
    report("scaling", queue.get(), given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
