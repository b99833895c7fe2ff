"""What a problem says of one of its passes: losses, weights, how many samples."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from absa.curvature.problem import Problem
from absa.errors import MeasurementError
from absa.losses import checked_losses, checked_weights
from absa.task import Batch


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
