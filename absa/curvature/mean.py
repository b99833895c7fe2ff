"""What the operators share: a mean over passes and ranks of what one pass gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor

from absa.curvature.kernels import Compiled
from absa.curvature.passes import checked_size, size_of
from absa.curvature.problem import Problem
from absa.curvature.second_derivative import named_refusals
from absa.curvature.trainable import trainable_parameters
from absa.curvature.undisturbed import undisturbed
from absa.curvature.vectors import flatten, unflatten
from absa.errors import MeasurementError
from absa.task import Batch


class Linearised(Protocol):
    """One pass at the current parameters; tensors are in the order of `trainable_parameters`."""

    def gradient(self) -> Sequence[Tensor]:
        """Return the gradient of the sum of weighted losses."""
        ...

    def product(self, vector: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the curvature of the sum of weighted losses times ``vector``."""
        ...


Linearise = Callable[[Problem, Batch], Linearised]


@dataclass(frozen=True)
class _Sums:
    """Over all ranks.

    Args:
        gradient: Of the mean loss.
        weight: Of all samples, not 0.
        num_samples: How many they are.
    """

    gradient: Float[Tensor, " dim"]
    weight: float
    num_samples: int


class MeanOperator:
    """A `CurvatureOperator` from what one pass gives; the class of every operator here.

    With one pass, what has been built for it on entering serves all products. With several, each is
    built anew for each product and freed before the next: memory is that of one pass. Entering and
    each product take one sum over the ranks; a rank without passes adds zeros to it. What is not
    finite is returned as it is.

    Args:
        problem: What is measured.
        linearise: What one pass gives.
        compiled: Passed on to `undisturbed`.

    Raises:
        MeasurementError: The model is wrapped, has no trainable parameter, or has some that cannot
            be in one vector of 32 or 64 bits.
    """

    def __init__(
        self, problem: Problem, linearise: Linearise, compiled: Compiled = "eager"
    ) -> None:
        self._problem, self._linearise, self._compiled = problem, linearise, compiled
        parameters = trainable_parameters(problem.model)
        self._shapes = [parameter.shape for parameter in parameters]
        self.dim = sum(parameter.numel() for parameter in parameters)
        self.dtype, self.device = parameters[0].dtype, parameters[0].device
        self._sums: _Sums | None = None
        self._kept: Linearised | None = None

    @property
    def num_samples(self) -> int:
        """Samples of the problem, over all ranks."""
        return self._entered.num_samples

    @property
    def gradient(self) -> Float[Tensor, " dim"]:
        """The gradient of the mean loss."""
        return self._entered.gradient

    def __enter__(self) -> Self:
        """Take the gradient; with one pass, build what all products use.

        Raises:
            MeasurementError: No sample on any rank, or all of them weigh nothing; an operation of
                the model has no second derivative in torch.
            TaskError: The losses or weights are not one number per sample.
        """
        kept: Linearised | None = None
        with undisturbed(self._problem.model, self._compiled), named_refusals():
            sums = torch.zeros(self.dim + 2, dtype=self.dtype, device=self.device)
            for batch in self._problem.passes:
                kept = None  # the pass before is freed first
                kept = self._linearise(self._problem, batch)
                sums[:-2] += flatten(kept.gradient())
                sums[-2:] += size_of(self._problem, batch, like=sums)
        self._problem.collective.start_sum(sums).wait()
        weight, total = checked_size(sums[-2:])
        self._sums = _Sums(sums[:-2] / weight, weight, total)
        self._kept = kept if len(self._problem.passes) == 1 else None
        return self

    def __exit__(self, *_: object) -> None:
        self._sums = self._kept = None

    def product(self, vector: Float[Tensor, " dim"]) -> Float[Tensor, " dim"]:
        """Return the curvature of the mean loss times ``vector``, the same bits on every rank.

        Raises:
            MeasurementError: Called outside of the ``with`` block, or the vector has another size,
                or an operation of the model has no second derivative in torch.
        """
        weight = self._entered.weight
        parts = unflatten(vector.detach().to(self.device, self.dtype), self._shapes)
        with undisturbed(self._problem.model, self._compiled), named_refusals():
            total = torch.zeros(self.dim, dtype=self.dtype, device=self.device)
            for batch in self._problem.passes:
                linearised = self._kept
                if linearised is None:
                    linearised = self._linearise(self._problem, batch)
                total += flatten(linearised.product(parts))
                del linearised  # its graph goes before the next pass builds one
        self._problem.collective.start_sum(total).wait()
        return total.div_(weight)

    @property
    def _entered(self) -> _Sums:
        if self._sums is None:
            raise MeasurementError(
                f"{type(self).__name__} measures inside of its with block only: "
                f"with {type(self).__name__}(problem) as operator: ..."
            )
        return self._sums
