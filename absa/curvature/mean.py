"""What the operators share: a mean over passes and ranks of what one pass gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from absa.curvature.problem import Problem
from absa.curvature.undisturbed import Compiled, undisturbed
from absa.curvature.vectors import flatten, unflatten
from absa.errors import MeasurementError
from absa.losses import checked_losses, checked_weights
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
            MeasurementError: No sample on any rank, or all of them weigh nothing.
            TaskError: The losses or weights are not one number per sample.
        """
        kept: Linearised | None = None
        with undisturbed(self._problem.model, self._compiled):
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
            MeasurementError: Called outside of the ``with`` block, or the vector has another size.
        """
        weight = self._entered.weight
        parts = unflatten(vector.detach().to(self.device, self.dtype), self._shapes)
        with undisturbed(self._problem.model, self._compiled):
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


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that curvature is taken by, each once.

    Raises:
        MeasurementError: There are none, they are of several or too small types or on several
            devices, or a wrapper that sums gradients itself is in the way.
    """
    for module in model.modules():
        if isinstance(module, DistributedDataParallel | DataParallel):
            raise MeasurementError(
                f"curvature got a model inside {type(module).__name__}, which sums gradients but "
                "not their derivatives; pass the bare model (wrapped.module) and the ranks as "
                "problem.collective"
            )
    parameters = [p for p in model.parameters() if p.requires_grad]
    kinds = sorted({f"{p.dtype} on {p.device}" for p in parameters})
    if len(kinds) != 1 or parameters[0].dtype not in (torch.float32, torch.float64):
        raise MeasurementError(
            f"the model's trainable parameters are {' and '.join(kinds) or 'none'}; curvature "
            "needs at least one, and all in float32 or all in float64 on one device. Measure a "
            "copy, copy.deepcopy(model).float(), or train with autocast, which keeps weights in "
            "float32"
        )
    return parameters


def num_samples_of(batch: Batch) -> int:
    """Return the first dimension of the first tensor in a nested batch.

    Raises:
        MeasurementError: There is no tensor in it.
    """
    todo = [batch]
    while todo:
        part = todo.pop(0)
        if isinstance(part, Tensor) and part.ndim > 0:
            return len(part)
        if isinstance(part, Mapping):
            todo += part.values()
        elif isinstance(part, list | tuple):
            todo += part
    raise MeasurementError(
        f"a pass of the problem is a {type(batch).__name__} without a tensor in it; a pass is made "
        "of dicts, lists and tuples of tensors whose first dimension is samples"
    )


def pass_weights(problem: Problem, batch: Batch) -> Float[Tensor, " samples"] | None:
    """Return what each sample of a pass weighs; None: all weigh 1."""
    if problem.weights is None:
        return None
    return checked_weights(problem.weights(batch), num_samples_of(batch))


def size_of(problem: Problem, batch: Batch, like: Tensor) -> Float[Tensor, "2"]:
    """Return the weight of a pass's samples and their number, in the type of ``like``."""
    weights, num_samples = pass_weights(problem, batch), num_samples_of(batch)
    weight = num_samples if weights is None else weights.sum()
    return torch.stack([torch.as_tensor(each).to(like) for each in (weight, num_samples)])


def checked_size(total: Float[Tensor, "2"]) -> tuple[float, int]:
    """Return weight and number of the samples of all passes of all ranks.

    Raises:
        MeasurementError: The weight is 0.
    """
    weight, num_samples = total.tolist()
    if weight == 0:
        raise MeasurementError(
            f"the {int(num_samples)} samples of the problem weigh 0 in all, over all ranks: "
            "curvature needs at least one sample of positive weight in problem.passes"
        )
    return weight, int(num_samples)


def loss_sum(problem: Problem, batch: Batch) -> Float[Tensor, ""]:
    """Return the sum of a pass's weighted losses, with its graph."""
    num_samples, weights = num_samples_of(batch), pass_weights(problem, batch)
    losses = checked_losses(problem.losses(problem.model, batch), num_samples)
    return losses.sum() if weights is None else torch.dot(losses, weights.to(losses.dtype))
