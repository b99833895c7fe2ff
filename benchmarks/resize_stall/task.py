"""The model and the data that both sides train: a perceptron on random vectors."""

import functools
import os

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from benchmarks.resize_stall.cases import CLASSES, INPUTS, SIZES, Size
from benchmarks.resize_stall.trace import RANK, UPDATE, Trace

NUM_SAMPLES = 4096
LR, MOMENTUM = 0.01, 0.9


def network(size: Size) -> nn.Sequential:
    """Return a new perceptron."""
    layers: list[nn.Module] = [nn.Linear(INPUTS, size.hidden), nn.ReLU()]
    for _ in range(size.layers):
        layers += [nn.Linear(size.hidden, size.hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(size.hidden, CLASSES))


def samples() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the vectors and their labels, always the same."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((NUM_SAMPLES, INPUTS), dtype=np.float32)
    return vectors, generator.integers(0, CLASSES, NUM_SAMPLES)


class RandomVectors:
    """A source of samples for ours."""

    def __init__(self) -> None:
        self._vectors, self._labels = samples()

    def __len__(self) -> int:
        return NUM_SAMPLES

    def fetch(
        self, indices: NDArray[np.int64], keys: NDArray[np.uint64] | None
    ) -> dict[str, Tensor]:
        """Return the samples at ``indices``."""
        return {
            "vector": torch.from_numpy(self._vectors[indices]),
            "label": torch.from_numpy(self._labels[indices]),
        }

    def transform(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the batch as it is."""
        return batch


class SyntheticTask:
    """A task of ours; it marks the end of every optimizer step of its process.

    Args:
        size: The name of a `Size`.
        traces: The folder for the marks; None: no marks.
    """

    def __init__(self, size: str, traces: str | None = None) -> None:
        (self._size,) = (each for each in SIZES if each.name == size)
        self._source = RandomVectors()
        if traces is not None:
            mark_updates(traces)

    def build_model(self) -> nn.Module:
        """Return the network."""
        return network(self._size)

    def datasets(self) -> "SyntheticDatasets":
        """Return the same samples for both uses."""
        return SyntheticDatasets(self._source)

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Return the cross-entropy of each sample."""
        return F.cross_entropy(model(batch["vector"]), batch["label"], reduction="none")

    def metrics(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Count only: nothing is judged."""
        return {"count": torch.tensor(len(batch["label"]))}


class SyntheticDatasets:
    """Has the form of `absa.task.Datasets`, which the peer's processes need not import."""

    def __init__(self, source: RandomVectors) -> None:
        self.train = self.evaluation = source


@functools.cache
def mark_updates(folder: str) -> RemovableHandle:
    """Mark the end of every optimizer step that this process makes from now on, and its rank.

    The rank is that of the environment, which is told anew when workers join or leave.
    """
    trace = Trace(folder, "ours")
    rank: str | None = None

    def mark(*_: object) -> None:
        nonlocal rank
        if os.environ.get("RANK") != rank:
            rank = os.environ.get("RANK")
            trace.mark(f"{RANK} {rank}")
        trace.mark(UPDATE)

    return register_optimizer_step_post_hook(mark)
