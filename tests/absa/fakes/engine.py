"""A tiny task, its replica, and ranks that are threads: what the engine's tests are made of."""

import itertools
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from absa.collective import Collective, SingleProcess
from absa.models.conversion import convert_batch_norm
from absa.models.ghost_batch_norm import batch_norms
from absa.models.running_statistics import RunningStatistics
from absa.optim.build import build_optimizer
from absa.optim.config import OptimizerConfig
from absa.order import SampleOrder, uniform
from absa.settings import Settings
from absa.task import Datasets
from absa.update.replica import Replica, UpdateOptions
from absa.update.scalars import Flags, UpdateResult
from absa.update.update import Turn, Updater

WIDTH, NUM_CLASSES = 6, 3
PATIENCE_S = 300
"""Far more than anything takes, so that a busy machine is no failure."""
T = TypeVar("T")


class Points:
    """Random points with labels; ``noise`` is drawn from the samples' keys."""

    def __init__(
        self, length: int, dtype: torch.dtype = torch.float32, noise: float = 0.0, seed: int = 0
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(length, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
        self.y = torch.randint(NUM_CLASSES, (length,), generator=generator)
        self.weight = torch.randint(0, 4, (length,), generator=generator).to(dtype)
        self.noise = noise
        self.fetched: list[list[int]] = []
        self.on_fetch: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self.y)

    def fetch(self, indices: Any, keys: Any) -> Any:
        self.on_fetch()
        rows = torch.from_numpy(indices)
        x = self.x[rows]
        if keys is not None:
            self.fetched.append(indices.tolist())
            x = x + self.noise * torch.from_numpy(uniform(keys, 0)).to(x.dtype)[:, None]
        return {"x": x, "y": self.y[rows], "weight": self.weight[rows]}

    def transform(self, batch: Any) -> Any:
        return batch


class Classify:
    """Cross-entropy of each point."""

    def __init__(self, source: Points, model: Callable[[], nn.Module] | None = None) -> None:
        self.source = source
        self._model = model or plain_network

    def build_model(self) -> nn.Module:
        return self._model()

    def datasets(self) -> Datasets:
        return Datasets(self.source, self.source)

    def losses(self, model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch["x"]), batch["y"], reduction="none")

    def metrics(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        logits = model(batch["x"])
        return {
            "accuracy": (logits.argmax(1) == batch["y"]).sum(),
            "loss": F.cross_entropy(logits, batch["y"], reduction="sum"),
            "count": torch.tensor(len(batch["y"])),
        }


class Weighed(Classify):
    """The same with a weight per sample."""

    def weights(self, batch: Any) -> Tensor:
        return batch["weight"]


class Explodes(Classify):
    """Its loss is not finite in some updates, counted from 1."""

    def __init__(
        self, source: Points, at: set[int], model: Callable[[], nn.Module] | None = None
    ) -> None:
        super().__init__(source, model or normed_network)
        self.at, self.number = at, 0

    def losses(self, model: nn.Module, batch: Any) -> Tensor:
        self.number += 1
        factor = float("nan") if self.number in self.at else 1.0
        return super().losses(model, batch) * factor


def plain_network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Linear(8, NUM_CLASSES))


def normed_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, NUM_CLASSES)
    )


def dropout_network() -> nn.Sequential:
    return nn.Sequential(*normed_network()[:3], nn.Dropout(0.5), nn.Linear(8, NUM_CLASSES))


def make_replica(
    task: Classify,
    optimizer: str | OptimizerConfig = "sgd",
    bn_group: int | None = None,
    device: str = "cpu",
    **options: Any,
) -> Replica:
    """Return a replica whose weights depend on the task's network alone.

    Not from a thread of `run_ranks`: the ranks there share torch's random state.
    """
    torch.manual_seed(7)
    model = task.build_model().to(device, task.source.x.dtype)
    if bn_group is not None:
        convert_batch_norm(model, bn_group)
    config = OptimizerConfig(name=optimizer) if isinstance(optimizer, str) else optimizer
    return Replica(
        task=task,
        model=model.train(),
        train=task.source,
        order=SampleOrder(3, len(task.source)),
        optimizer=build_optimizer(config, model),
        parameters=[p for p in model.parameters() if p.requires_grad],
        statistics=RunningStatistics(model),
        device=torch.device(device),
        options=UpdateOptions(bn_group if batch_norms(model) else None, **options),
    )


@dataclass
class Trained:
    """What some updates left behind."""

    state: dict[str, Tensor]
    results: list[UpdateResult]


def run_updates(
    replica: Replica,
    settings: Sequence[Settings],
    collective: Collective | None = None,
    lr: float = 0.1,
    *,
    measure: bool = False,
) -> Trained:
    """Make one update with each of ``settings``."""
    updater, samples, results = Updater(replica), 0, []
    for each in settings:
        turn = Turn(samples, lr, Flags(), measure)
        samples += updater.update(collective or SingleProcess(), each, turn)
        results += updater.results()
    results += updater.flush()
    updater.close()
    state = {name: t.detach().clone() for name, t in replica.model.state_dict().items()}
    for parameter, values in replica.optimizer.state.items():
        place = [id(p) for p in replica.parameters].index(id(parameter))
        state |= {
            f"{place}/{k}": v.clone() for k, v in values.items() if isinstance(v, torch.Tensor)
        }
    return Trained(state, results)


class _Done:
    def wait(self) -> None:
        pass


@dataclass
class _Meeting:
    """Where threads meet; every value is read between two barriers."""

    world_size: int
    slots: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = [None] * self.world_size
        self.barrier = threading.Barrier(self.world_size, timeout=PATIENCE_S)
        pairs = itertools.product(range(self.world_size), repeat=2)
        self.mail: dict[Any, queue.Queue[Tensor]] = {pair: queue.Queue() for pair in pairs}

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.slots[rank] = value
        self.barrier.wait()
        found = list(self.slots)
        self.barrier.wait()
        return found


@dataclass(frozen=True)
class ThreadRank:
    """A `Collective` whose ranks are threads; sums go from rank 0 up, so all get the same bits."""

    rank: int
    world_size: int
    meeting: _Meeting
    sizes: list[int]
    superseded: bool = False

    @property
    def num_computing(self) -> int:
        return self.world_size

    def ensure_current(self) -> None:
        """This group never ends."""

    def start_sum(self, tensor: Tensor) -> _Done:
        self.sizes.append(tensor.numel())
        parts = self.meeting.exchange(self.rank, tensor.clone())
        tensor.copy_(sum(parts[1:], parts[0]))
        return _Done()

    def broadcast(self, tensors: list[Tensor], source: int) -> None:
        for tensor in tensors:
            tensor.copy_(self.meeting.exchange(self.rank, tensor.clone())[source])

    def broadcast_value(self, value: Any, source: int) -> Any:
        return self.meeting.exchange(self.rank, value)[source]

    def start_send(self, tensor: Tensor, to: int) -> _Done:
        assert tensor.is_contiguous()
        self.meeting.mail[self.rank, to].put(tensor.clone())
        return _Done()

    def start_receive(self, tensor: Tensor, source: int) -> "_Expected":
        assert tensor.is_contiguous()
        return _Expected(tensor, self.meeting.mail[source, self.rank])


@dataclass(frozen=True)
class _Expected:
    """A message that is to come; those of one rank are waited for in order."""

    tensor: Tensor
    mail: "queue.Queue[Tensor]"

    def wait(self) -> None:
        message = self.mail.get(timeout=PATIENCE_S)
        assert (message.dtype, message.shape) == (self.tensor.dtype, self.tensor.shape)
        self.tensor.copy_(message)


def run_ranks(world_size: int, work: Callable[[ThreadRank], T]) -> list[T]:
    """Call ``work`` on every rank of a group; raise the first failure."""
    meeting = _Meeting(world_size)
    outcomes: list[Any] = [None] * world_size
    failures: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            outcomes[rank] = work(ThreadRank(rank, world_size, meeting, []))
        except threading.BrokenBarrierError as error:
            failures.append(error)
        except BaseException as error:
            failures.insert(0, error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world_size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return outcomes


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """Fail unless both hold the same tensors bit for bit."""
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        # numpy has no bfloat16
        left, right = (t.float() if t.dtype == torch.bfloat16 else t for t in (a[name], b[name]))
        np.testing.assert_array_equal(left.numpy(), right.numpy(), name)


def close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """Fail unless both hold the same tensors to rounding."""
    double = any(t.dtype == torch.float64 for t in a.values())
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if double else {"rtol": 2e-5, "atol": 2e-6}
    torch.testing.assert_close(a, b, **tolerance)
