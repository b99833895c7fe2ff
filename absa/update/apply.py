"""Turn the summed gradient into a step of the weights, or into nothing if it is not finite."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from absa.update.replica import Replica
from absa.update.scalars import LOSS, NUM_SCALARS, WEIGHT


@dataclass(frozen=True)
class Reduced:
    """The sums over all ranks of one update.

    Args:
        scalars: The update's scalars, then the batch-norm statistics.
        gradients: Every parameter's gradient of (sum of weighted losses) / num_samples.
        num_samples: Samples of the update.
        weighted: Whether samples weigh differently, so that the gradient must still be multiplied
            by num_samples / sum of weights.
    """

    scalars: Tensor
    gradients: list[Tensor]
    num_samples: int
    weighted: bool


def apply(replica: Replica, reduced: Reduced) -> Tensor:
    """Clip, step the optimizer and commit batch-norm statistics, all only if all is finite.

    Returns:
        The gradient's norm before clipping, a scalar on the device; not finite if the update was
        skipped.
    """
    if reduced.weighted:
        torch._foreach_mul_(reduced.gradients, reduced.num_samples / reduced.scalars[WEIGHT])
    norm = torch.nn.utils.get_total_norm(reduced.gradients)
    # A loss that is not finite can have a finite gradient: let it show in the norm.
    norm = norm + 0.0 * reduced.scalars[LOSS]
    if replica.device.type == "cuda":
        _apply_on_device(replica, reduced, norm)
    elif math.isfinite(norm.item()):
        _clip(replica, reduced.gradients, norm)
        replica.optimizer.step()
        replica.statistics.commit(reduced.scalars[NUM_SCALARS:])
    return norm


def _clip(replica: Replica, gradients: list[Tensor], norm: Tensor) -> None:
    if replica.options.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(
            replica.parameters, replica.options.clip_norm, norm, foreach=True
        )


def _apply_on_device(replica: Replica, reduced: Reduced, norm: Tensor) -> None:
    """Do the same without waiting for the device: the optimizer's kernels look at the flag."""
    finite = norm.isfinite()
    _clip(replica, reduced.gradients, norm)
    replica.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    replica.optimizer.step()
    del replica.optimizer.found_inf  # type: ignore[attr-defined]
    statistics = reduced.scalars[NUM_SCALARS:]
    replica.statistics.commit(torch.where(finite, statistics, 0.0))
