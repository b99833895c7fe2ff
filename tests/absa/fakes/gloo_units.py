"""Two real processes under DDP that take their units' norms, for `test_units_gloo.py`."""

import multiprocessing
import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from absa.noise_scale.units import GradientUnits, LoopOptions

CUTS = ((5,), (3, 2))
"""Samples of each pass of the two ranks; both have as many, as DDP needs."""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()


def data(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rank)
    x = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    return x, torch.randint(3, (5,), generator=generator)


def train(rank: int, cut: tuple[int, ...]) -> list[object]:
    """Return the samples of two updates at the same weights, the second not looked at."""
    model = DistributedDataParallel(network())
    units = GradientUnits(model.parameters(), LoopOptions(every_updates=2))
    found: list[object] = []
    x, y = data(rank)
    for _ in range(2):
        model.zero_grad()
        for number, (a, b) in enumerate(zip(x.split(cut), y.split(cut), strict=True), start=1):
            model.require_backward_grad_sync = number == len(cut)
            loss = nn.functional.cross_entropy(model(a), b) * len(a) / len(x)
            loss.backward()
            units.add(len(a), loss_scale=len(a) / len(x))
        found.append(units.finish())
    units.close()
    return found


def run(folder: str) -> None:
    multiprocessing.set_forkserver_preload(["gloo_units"])
    mp.start_processes(_process, (folder,), 2, start_method="forkserver")


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    torch.save([train(rank, cut) for cut in CUTS], f"{folder}/{rank}.pt")
    dist.destroy_process_group()
