"""The peer's training loop: `DistributedDataParallel` on Ray Train, as one writes it by hand.

It asks for its own changes. Right before, it saves a checkpoint, waits until Ray has taken it, and
makes no more updates: so the restart loses none, and neither the checkpoint nor an update that
would be made again counts as a stall. That is the best case of a restart.
"""

import os
import signal
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import ray.train
import torch
import torch.distributed as dist
import torch.nn.functional as F
from ray.train import Checkpoint, CheckpointConsistencyMode
from torch.nn.parallel import DistributedDataParallel

from absa.host_memory import keep_freed_memory
from benchmarks.resize_stall.cases import Script
from benchmarks.resize_stall.task import LR, MOMENTUM, NUM_SAMPLES, network, samples
from benchmarks.resize_stall.trace import UPDATE, Trace
from benchmarks.resize_stall.wish import Wish, write_wish


@dataclass(frozen=True)
class PeerRun:
    """What a worker needs to know.

    Args:
        script: The model and the changes.
        folder: For marks and wishes.
        updates: How many each group makes.
    """

    script: Script
    folder: Path
    updates: int


def train_peer(config: dict[str, Any]) -> None:
    """Train one rank until the next change, or to the end after the last."""
    run: PeerRun = config["run"]
    trace = Trace(run.folder, "peer")
    trace.mark("entered")
    torch.set_num_threads(1)
    keep_freed_memory()
    loop = _Loop(run, trace)
    for _ in range(run.updates):
        loop.update()
    if loop.step < len(run.script.changes):
        loop.save()
        _change(run, loop, trace)


class _Loop:
    """The model, its optimizer and its data."""

    def __init__(self, run: PeerRun, trace: Trace) -> None:
        self._trace = trace
        self._size = run.script.size
        torch.manual_seed(0)
        model = network(self._size)
        self.step = 0
        state = _newest_state()
        if state is not None:
            self.step = state["step"]
            model.load_state_dict(state["model"])
        self._model = DistributedDataParallel(model)
        self._optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM, fused=True)
        if state is not None:
            self._optimizer.load_state_dict(state["optimizer"])
        vectors, labels = samples()
        self._vectors, self._labels = torch.from_numpy(vectors), torch.from_numpy(labels)
        self._order = torch.Generator().manual_seed(self.step)
        trace.mark(f"restored {self.step}")

    def update(self) -> None:
        """Train on this rank's share of a batch."""
        batch = torch.randint(NUM_SAMPLES, (self._size.batch,), generator=self._order)
        mine = batch[dist.get_rank() :: dist.get_world_size()]
        self._optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self._model(self._vectors[mine]), self._labels[mine])
        loss.backward()
        self._optimizer.step()
        self._trace.mark(UPDATE)

    def save(self) -> None:
        """Save a checkpoint for the next group and return when Ray has taken it."""
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if dist.get_rank() == 0:
                state = {
                    "step": self.step + 1,
                    "model": self._model.module.state_dict(),
                    "optimizer": self._optimizer.state_dict(),
                }
                torch.save(state, Path(folder, "state.pt"))
                checkpoint = Checkpoint.from_directory(folder)
            ray.train.report({"step": self.step}, checkpoint=checkpoint)
        ray.train.get_all_reported_checkpoints(CheckpointConsistencyMode.COMMITTED)
        dist.barrier()


def _newest_state() -> Any:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return torch.load(Path(folder, "state.pt"), weights_only=True, mmap=True)


def _change(run: PeerRun, loop: _Loop, trace: Trace) -> None:
    change, step, rank = run.script.changes[loop.step], loop.step + 1, dist.get_rank()
    if change.victim is None:
        if rank == 0:
            trace.mark(f"asked {step}")
            write_wish(run.folder, Wish(step, change.after))
        _wait_for_the_end()
    if rank == 0:
        write_wish(run.folder, Wish(step, change.after, when_lost=True))
    dist.barrier()
    if rank == change.victim:
        trace.mark(f"asked {step}")
        os.kill(os.getpid(), signal.SIGKILL)
    loop.update()  # fails, as the victim takes no part


def _wait_for_the_end() -> NoReturn:
    """Stand still until Ray Train ends the process."""
    while True:
        threading.Event().wait()
