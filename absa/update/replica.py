"""What one rank computes with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from absa.adversary.config import DEFAULT_EPS
from absa.models.running_statistics import RunningStatistics
from absa.order import SampleOrder
from absa.task import Batch, Source, Task

Precision = Literal["fp32", "bf16"]
Verdict = Literal["host", "device"]


@dataclass(frozen=True)
class UpdateOptions:
    """Options of an update that never change during a run.

    Args:
        bn_group: Samples that share one batch-norm statistic; None: the model has no batch-norm.
        precision: bf16 runs the forward pass under autocast; weights and gradients stay fp32.
        clip_norm: Largest norm of the gradient that is applied, or None.
        verdict: Who judges whether an update is finite. The host waits for it; the device skips a
            step on its own, and the host learns of it one update late. None: the device if that is
            a GPU and the optimizer can skip.
        eps: How far inputs are moved where some are perturbed, in the task's own unit.
    """

    bn_group: int | None
    precision: Precision = "fp32"
    clip_norm: float | None = None
    verdict: Verdict | None = None
    eps: float = DEFAULT_EPS


@dataclass(frozen=True)
class Replica:
    """A rank's copy of the model and everything an update needs beside it.

    ``parameters`` are the trainable ones: to find them in the model at every update would cost a
    small network several per cent. ``signals`` are what measurements remember as tensors, by name:
    part of the state, never of the model.
    """

    task: Task
    model: nn.Module
    train: Source
    order: SampleOrder
    optimizer: torch.optim.Optimizer
    parameters: list[nn.Parameter]
    statistics: RunningStatistics
    device: torch.device
    options: UpdateOptions
    signals: Mapping[str, Tensor] = field(default_factory=dict)


def weights_of(task: Task) -> Callable[[Batch], Tensor] | None:
    """Return the task's per-sample weights, or None if all samples weigh the same."""
    return getattr(task, "weights", None)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move every tensor of a nested batch to ``device``."""
    return each_tensor(
        batch, lambda t: t if t.device == device else t.to(device, non_blocking=True)
    )


def each_tensor(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return a nested batch of what ``change`` makes of every tensor."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, dict):
        return {key: each_tensor(value, change) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(each_tensor(value, change) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(each_tensor(value, change) for value in batch)
    return batch
