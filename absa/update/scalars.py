"""The few numbers of an update that ride at the end of the gradient buffer."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from absa.noise_scale.sample import Norms, NormSample

LOSS, WEIGHT, COMMAND, CHECKPOINT, TIME_UP, REGROUP = range(6)
NUM_SCALARS = 6


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
        shape: Of the sums over units: a row over the model's tensors, and another one where the
            optimizer multiplies gradients element by element.
        num_statistics: Floats that batch-norm's statistics take.
        dtype: The widest of the parameters, at least float32.
        device: Of the parameters.
    """

    units: Float[Tensor, "rows tensors"]
    """Sum over units of |s_u|^2 / W_u, as in `NormSample`, and in a second row with s_u
    preconditioned; zero where nobody looks at units."""
    samples_per_weight: Float[Tensor, ""]
    """Sum over units of b_u / W_u."""

    def __init__(
        self, shape: tuple[int, int], num_statistics: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        sizes = [shape[0] * shape[1], 1 + NUM_SCALARS, num_statistics]
        self.all: Float[Tensor, " n"] = torch.zeros(sum(sizes), dtype=dtype, device=device)
        # Views are made once: each costs as much as an operation on it.
        units, self.numbers, self.statistics = self.all.split(sizes)
        self.units = units.view(shape)
        self.samples_per_weight, self.scalars = self.numbers[0], self.numbers[1:]
        self.loss, self.weight = self.scalars[LOSS], self.scalars[WEIGHT]
        self._begun = self.all[: sizes[0] + sizes[1]]
        # Not the units: whether an update is applied must not depend on its being measured.
        self._judged = self.all[sizes[0] + 1 :]
        self._zeros = torch.zeros_like(self._judged)

    def begin(self, flags: Flags) -> None:
        """Start an update at zero; only ``flags`` are up."""
        self._begun.zero_()
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
        """Return 0 if every scalar and statistic is finite, else NaN; the device is not awaited."""
        return torch.dot(self._judged, self._zeros)


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
        norms: What it tells of the gradient noise; None if it was skipped.
        weights: Squared norms of the weights before it, in a measured update of an optimizer that
            takes trust ratios; else None.
    """

    num_samples: int
    weight: float
    loss: float
    gradient_norm: float
    applied: bool
    flags: Flags
    norms: NormSample | None = None
    weights: Norms | None = None

    @property
    def reason(self) -> str:
        """Say why the update was skipped."""
        if self.weight == 0:
            return "all sample weights are zero"
        if not math.isfinite(self.loss):
            return "the loss is not finite"
        return "the gradient or a batch-norm statistic is not finite"
