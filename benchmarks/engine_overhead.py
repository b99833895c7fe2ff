"""Our update beside a hand-written `DistributedDataParallel` loop: same model, data, micro-batch.

Both train in the same processes, some updates of one and then some of the other, on one rank and
on two. The data are random images in memory; ours goes through the whole loop: sample order,
fetching bytes, normalising, ghost batch-norm, the check for non-finite gradients, the journal's
observations. The hand-written loop indexes normalised floats. Both run with the allocator as our
workers set it (`absa.host_memory`): it is the process's, and favours neither.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from absa.collective import Collective, ProcessGroup, SingleProcess
from absa.data.augmentation import Augmentation
from absa.data.image_set import Split
from absa.data.images import ImageSource
from absa.data.normalisation import Normalisation
from absa.data.resident import keep_on_device
from absa.instruments import Instruments
from absa.loop import Loop
from absa.models import build_model
from absa.models.config import ModelConfig
from absa.models.conversion import convert_batch_norm
from absa.models.ghost_batch_norm import batch_norms
from absa.models.running_statistics import RunningStatistics
from absa.order import SampleOrder
from absa.outside import Outside
from absa.progress import Progress
from absa.rules import Rules
from absa.run_state import RunState
from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
from absa.schedules.learning_rate import learning_rate
from absa.settings import Settings
from absa.stop import StopConfig
from absa.task import Datasets
from absa.update.replica import Replica, UpdateOptions
from benchmarks.group import free_port, join
from benchmarks.measure import Aim, Row, alternate, arguments, compare, cuda_s, report, wall_s
from benchmarks.nowhere import Nowhere

LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
NUM_TRAIN = 16384


@dataclass(frozen=True)
class Case:
    """One model at one micro-batch; ``block`` updates are timed at a time."""

    name: str
    model: ModelConfig
    image_shape: tuple[int, int, int]
    micro_batch: int
    block: int
    aim: float


CASES = (
    Case("resnet20", ModelConfig(name="resnet20"), (3, 32, 32), 128, 2, 0.98),
    Case("mlp 784-256-128-10", ModelConfig(name="mlp"), (1, 28, 28), 128, 100, 0.92),
)


class RandomImages:
    """A task on random images."""

    def __init__(self, case: Case) -> None:
        self._case = case
        channels, height, width = case.image_shape
        generator = np.random.default_rng(0)
        shape = (NUM_TRAIN, height, width, channels)
        self.images = generator.integers(0, 256, shape, dtype=np.uint8)
        self.labels = generator.integers(0, 10, NUM_TRAIN)

    def build_model(self) -> nn.Module:
        """Return the case's network."""
        return build_model(self._case.model, image_shape=self._case.image_shape, num_classes=10)

    def datasets(self) -> Datasets:
        """Return the same images for both uses."""
        channels = self._case.image_shape[0]
        normalisation = Normalisation((0.5,) * channels, (0.25,) * channels)
        source = ImageSource(Split(self.images, self.labels), normalisation, Augmentation())
        return Datasets(source, source)

    def losses(self, model: nn.Module, batch: Any) -> Tensor:
        """Return the cross-entropy of each sample."""
        return F.cross_entropy(model(batch["image"]), batch["label"], reduction="none")

    def metrics(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Count nothing: the benchmark never evaluates."""
        return {"count": torch.tensor(len(batch["label"]))}


def our_loop(
    case: Case, collective: Collective, device: torch.device, settings: Settings | None = None
) -> Callable[[], None]:
    """Return a call that makes ``case.block`` updates through our loop.

    Args:
        case: ``micro_batch`` is a batch-norm group.
        collective: The ranks.
        device: Where to.
        settings: Of the updates; None: a group on each rank.
    """
    task = RandomImages(case)
    # Both loops have their images where they compute.
    source = keep_on_device(task.datasets().train, device, task.images.nbytes)
    torch.manual_seed(0)
    model = convert_batch_norm(task.build_model(), case.micro_batch).to(device)
    parameters = list(model.parameters())
    replica = Replica(
        task=task,
        model=model,
        train=source,
        order=SampleOrder(0, NUM_TRAIN),
        optimizer=_sgd(parameters),
        parameters=parameters,
        statistics=RunningStatistics(model),
        device=device,
        options=UpdateOptions(case.micro_batch if batch_norms(model) else None),
    )
    schedule = ScheduleConfig(
        scaling="none", warmup=WarmupConfig(kind="none"), decay=DecayConfig(kind="none")
    )
    rules = Rules(
        learning_rate=learning_rate(LR, schedule, NUM_TRAIN, None),
        stop=StopConfig(updates=1 << 60),
        evaluate_samples=1 << 60,
        evaluate_batch=1,
        observe_updates=20,
        checkpoint_samples=None,
        checkpoint_s=None,
        keep_best=False,
        max_skipped=5,
    )
    settings = settings or Settings(case.micro_batch * collective.world_size, case.micro_batch)
    outside = Outside(collective, Nowhere(), Nowhere())
    loop = Loop(replica, Instruments(source, ()), rules, outside, RunState(Progress(), settings))

    def block() -> None:
        for _ in range(case.block):
            loop.step()

    return block


def ddp_loop(
    case: Case, collective: Collective, device: torch.device, *, compiled: bool = False
) -> Callable[[], None]:
    """Return a call that makes ``case.block`` updates as one writes them by hand."""
    task = RandomImages(case)
    raw = task.datasets().train
    batch = raw.transform(raw.fetch(np.arange(NUM_TRAIN), None))
    images, labels = batch["image"].to(device), batch["label"].to(device)
    torch.manual_seed(0)
    model: nn.Module = DistributedDataParallel(task.build_model().to(device))
    if compiled:
        model.compile()
    optimizer = _sgd(list(model.parameters()))
    rank, world_size = collective.rank, collective.world_size
    epoch: list[Tensor] = []

    def update() -> None:
        if not epoch:
            order = torch.randperm(NUM_TRAIN, device=device)
            mine = order[: NUM_TRAIN // (case.micro_batch * world_size) * case.micro_batch]
            epoch.extend((mine * world_size + rank).remainder(NUM_TRAIN).split(case.micro_batch))
        index = epoch.pop()
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images[index]), labels[index])
        loss.backward()
        optimizer.step()

    def block() -> None:
        for _ in range(case.block):
            update()

    return block


def _sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)


def measure(rank: int, world_size: int, port: int, rounds: int, queue: Any) -> None:
    """Time all cases on one of ``world_size`` ranks; rank 0 puts the rows into ``queue``."""
    torch.set_num_threads(max((os.cpu_count() or 1) // world_size, 1))
    device = join(rank, world_size, port)
    group = dist.group.WORLD
    assert group is not None
    collective: Collective = SingleProcess() if world_size == 1 else ProcessGroup(group)
    clock = cuda_s if device.type == "cuda" else wall_s
    rows: list[Row] = []
    for case in CASES:
        peers = {"hand-written DDP": ddp_loop(case, collective, device)}
        if device.type == "cuda":
            peers["DDP, torch.compile"] = ddp_loop(case, collective, device, compiled=True)
        calls = {"ours": our_loop(case, collective, device), **peers}
        times = alternate(calls, rounds, clock)
        speed = {
            name: [case.micro_batch * world_size * case.block / s for s in seconds]
            for name, seconds in times.items()
        }
        for peer in peers:
            aim = Aim(">=", case.aim) if peer == "hand-written DDP" else None
            name = f"{case.name}, {world_size} rank{'s' * (world_size > 1)}, {device.type}"
            rows.append(compare(name, "samples/s", speed["ours"], speed[peer], peer, aim))
    if rank == 0:
        queue.put(rows)
    dist.destroy_process_group()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    given = arguments("engine_overhead", __doc__ or "", argv)
    rounds = {"quick": 25, "usual": 60, "full": 150}[given.size]
    num_devices = torch.cuda.device_count() if torch.cuda.is_available() else 2
    rows: list[Row] = []
    for world_size in (1, 2):
        if world_size <= num_devices:
            context = mp.get_context("spawn")
            queue = context.SimpleQueue()
            mp.spawn(measure, (world_size, free_port(), rounds, queue), nprocs=world_size)
            rows += queue.get()
    report("engine_overhead", rows, given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
