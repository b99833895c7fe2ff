"""The few numbers of an update that ride at the end of the gradient buffer."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LOSS, WEIGHT, COMMAND, CHECKPOINT, TIME_UP, REGROUP = range(6)
NUM_SCALARS = 6
"""Batch-norm statistics follow these in the buffer."""


@dataclass(frozen=True)
class Flags:
    """What a rank wants all ranks to do at the next boundary; a flag is up if any rank raised it.

    Args:
        command: A command waits at rank 0.
        checkpoint: A checkpoint is due.
        time_up: The time limit of the run is reached.
        regroup: Another group of workers is announced.
    """

    command: bool = False
    checkpoint: bool = False
    time_up: bool = False
    regroup: bool = False

    def __bool__(self) -> bool:
        return self.command or self.checkpoint or self.time_up or self.regroup

    def __or__(self, other: "Flags") -> "Flags":
        """Raise what either raises."""
        return Flags(
            self.command or other.command,
            self.checkpoint or other.checkpoint,
            self.time_up or other.time_up,
            self.regroup or other.regroup,
        )

    def without(self, other: "Flags") -> "Flags":
        """Lower what ``other`` raises."""
        return Flags(
            self.command and not other.command,
            self.checkpoint and not other.checkpoint,
            self.time_up and not other.time_up,
            self.regroup and not other.regroup,
        )


class Totals:
    """What is summed over passes and ranks beside the gradients, in one tensor.

    Args:
        num_statistics: Floats that batch-norm's statistics take.
        dtype: The widest of the parameters, at least float32.
        device: Of the parameters.
    """

    def __init__(self, num_statistics: int, dtype: torch.dtype, device: torch.device) -> None:
        self.all: Float[Tensor, " n"] = torch.zeros(
            NUM_SCALARS + num_statistics, dtype=dtype, device=device
        )
        # Views are made once: each costs as much as an operation on it.
        self.scalars, self.statistics = self.all.split([NUM_SCALARS, num_statistics])
        self.loss, self.weight = self.scalars[LOSS], self.scalars[WEIGHT]
        self._zeros = torch.zeros_like(self.all)

    def begin(self, flags: Flags) -> None:
        """Start an update at zero; only ``flags`` are up."""
        self.scalars.zero_()
        if flags:
            # One by one: a tensor made from a list would have to travel to the device.
            for place, raised in (
                (COMMAND, flags.command),
                (CHECKPOINT, flags.checkpoint),
                (TIME_UP, flags.time_up),
                (REGROUP, flags.regroup),
            ):
                self.scalars[place].fill_(float(raised))

    def verdict(self) -> Float[Tensor, ""]:
        """Return 0 if every number is finite, else NaN; without waiting for the device."""
        return torch.dot(self.all, self._zeros)


@dataclass(frozen=True)
class UpdateResult:
    """What became of one update, the same on every rank.

    Args:
        num_samples: Samples it consumed.
        weight: The sum of their weights: their number, unless the task weighs samples.
        loss: Weighted mean of their losses; NaN if they weigh nothing.
        gradient_norm: Norm of the mean gradient, before clipping.
        applied: False if the update was skipped: weights, momentum and batch-norm's running
            statistics stayed as they were.
        flags: What the ranks asked for.
    """

    num_samples: int
    weight: float
    loss: float
    gradient_norm: float
    applied: bool
    flags: Flags

    @property
    def reason(self) -> str:
        """Say why the update was skipped."""
        if self.weight == 0:
            return "all sample weights are zero"
        if not math.isfinite(self.loss):
            return "the loss is not finite"
        return "the gradient or a batch-norm statistic is not finite"


def result(values: list[float], num_samples: int) -> UpdateResult:
    """Return what the scalars of an update, followed by the gradient's norm, say."""
    loss_sum, weight, command, checkpoint, time_up, regroup, norm = values
    return UpdateResult(
        num_samples=num_samples,
        weight=weight,
        loss=loss_sum / weight if weight else math.nan,
        gradient_norm=norm,
        applied=math.isfinite(norm),
        flags=Flags(command > 0, checkpoint > 0, time_up > 0, regroup > 0),
    )
