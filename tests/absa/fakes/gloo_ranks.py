"""What real processes joined by gloo compute, for `test_gloo.py`; alone it runs without any."""

import multiprocessing
import os
import sys
from dataclasses import asdict
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from engine import (
    Classify,
    Points,
    Weighed,
    make_replica,
    normed_network,
    run_updates,
)
from torch import nn

from absa.collective import Collective, ProcessGroup
from absa.evaluate import evaluate
from absa.settings import Settings
from absa.update import reducer

WORLD_SIZES = (2, 3)


def dropping_network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


CASES: dict[str, Any] = {
    "batch-norm": (Classify, normed_network, "lars", {"bn_group": 2}, Settings(7, 2)),
    "weights": (
        Weighed,
        normed_network,
        "adamw",
        {"bn_group": 3, "clip_norm": 0.1},
        Settings(9, 4),
    ),
    # Two passes of 2 are the same passes on 1, 2 and 3 ranks; the third rank has none of them.
    "dropout and a rank without samples": (
        *(Classify, dropping_network, "sgd", {"bn_group": 2}),
        Settings(4, 2),
    ),
    # 12 samples in passes of 2 are the same passes on 1, 2 and 3 ranks.
    "judged by the device": (
        *(Classify, normed_network, "sgd", {"bn_group": 2, "verdict": "device"}),
        Settings(7, 2),
    ),
}


def train(name: str, collective: Collective) -> dict[str, Any]:
    """Train one case; return the state, the results and an evaluation."""
    kind, model, optimizer, options, settings = CASES[name]
    task = kind(Points(24, torch.float64, noise=0.1), model)
    replica = make_replica(task, optimizer, **options)
    trained = run_updates(replica, [settings] * 3, collective, measure=True)
    metrics = evaluate(
        task, replica.model, Points(7, torch.float64), ("accuracy", "loss"), 2, collective
    )
    return {
        "state": trained.state,
        "losses": [r.loss for r in trained.results],
        "norms": [r.gradient_norm for r in trained.results],
        "noise": [asdict(r.norms) for r in trained.results],
        "metrics": metrics,
    }


def run_all(folder: str) -> None:
    """Run every case on groups of each size, in one set of processes."""
    # Importing torch takes seconds: once, in the server that the processes are forked from.
    multiprocessing.set_forkserver_preload(["gloo_ranks"])
    mp.start_processes(_process, (folder,), max(WORLD_SIZES), start_method="forkserver")


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    reducer.GradientReducer.__init__.__defaults__ = (600,)  # two or three messages
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=max(WORLD_SIZES),
    )
    found: dict[Any, Any] = {}
    for world_size in WORLD_SIZES:
        # Not from rank 0 up: a group's ranks are not those of the processes.
        members = list(range(max(WORLD_SIZES) - world_size, max(WORLD_SIZES)))
        group = dist.new_group(members)
        if rank not in members:
            continue
        collective = ProcessGroup(group)
        found[world_size] = {name: train(name, collective) for name in CASES}
        found[world_size]["broadcast"] = _broadcast(collective)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _broadcast(collective: Collective) -> dict[str, Any]:
    mine = float(collective.rank)
    image = torch.full((2, 3, 4, 4), mine).to(memory_format=torch.channels_last)
    tensors = [image, torch.full((3, 4), mine).t(), torch.tensor(int(mine))]
    collective.broadcast(tensors, source=1)
    value = collective.broadcast_value({"rank": collective.rank}, source=1)
    return {"rank": collective.rank, "tensors": tensors, "value": value}
