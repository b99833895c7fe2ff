"""Turn the summed gradient into a step of the weights, or into nothing if it is not finite."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import SGD, Optimizer

from absa.optim.lars import LARS
from absa.update.gradients import tensor_norms
from absa.update.replica import Replica
from absa.update.scalars import Totals


@dataclass(frozen=True)
class Reduced:
    """The sums over all ranks of one update.

    Args:
        totals: The update's scalars and batch-norm statistics.
        gradients: Every parameter's gradient of (sum of weighted losses) / num_samples.
        num_samples: Samples of the update.
        weighted: Whether samples weigh differently, so that the gradient must still be multiplied
            by num_samples / sum of weights.
        preconditioner: What to multiply a gradient with, element by element, to know its norm then;
            None: that is not asked.
    """

    totals: Totals
    gradients: list[Tensor]
    num_samples: int
    weighted: bool
    preconditioner: list[Tensor] | None = None


class GradientNorms(NamedTuple):
    """Norms of a gradient before clipping.

    Args:
        whole: Not finite if anything of the update is not, so that the update was skipped.
        tensors: Of each parameter's, in their order.
        preconditioned: The same for the preconditioned gradient, or None.
    """

    whole: Float[Tensor, ""]
    tensors: Float[Tensor, " tensors"]
    preconditioned: Float[Tensor, " tensors"] | None


def apply_judged(replica: Replica, reduced: Reduced) -> GradientNorms:
    """Clip, step the optimizer and commit batch-norm statistics, all only if all is finite.

    The host waits for the gradient's norm, which costs nothing where the host computes it.
    """
    norms = _norms(reduced)
    if math.isfinite(norms.whole.item()):
        _clip(replica, reduced.gradients, norms.whole)
        replica.optimizer.step()
        replica.statistics.commit(reduced.totals.statistics)
    return norms


def apply_unseen(replica: Replica, reduced: Reduced) -> GradientNorms:
    """Do the same without waiting for the device: the optimizer's kernels look at the verdict.

    The optimizer must be one that `can_skip_unseen` and has been prepared by `prepare_unseen`.
    """
    norms = _norms(reduced)
    finite = norms.whole.isfinite()
    _clip(replica, reduced.gradients, norms.whole)
    optimizer = replica.optimizer
    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]
    replica.statistics.commit(torch.where(finite, reduced.totals.statistics, 0.0))
    return norms


def can_skip_unseen(optimizer: Optimizer) -> bool:
    """Return whether a step changes nothing if the scalar tensor ``found_inf`` is 1.

    LARS and PyTorch's fused kernels do that. With dampening SGD's first step is special.
    """
    if isinstance(optimizer, LARS):
        return True
    groups = optimizer.param_groups
    return all(group.get("fused") and not group.get("dampening") for group in groups)


def prepare_unseen(optimizer: Optimizer) -> None:
    """Give SGD its momentum before the first step.

    It would make it uninitialised and leave it so if that step is skipped (torch 2.6 to 2.13,
    ``torch/optim/sgd.py``, ``_fused_sgd``). From zero the first step is the same.
    """
    if not isinstance(optimizer, SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            state = optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def _norms(reduced: Reduced) -> GradientNorms:
    """Bring the gradient to its final scale and return its norms."""
    totals, gradients = reduced.totals, reduced.gradients
    if reduced.weighted:
        torch._foreach_mul_(gradients, reduced.num_samples / totals.weight)
    tensors = tensor_norms(gradients, totals.all.dtype)
    # A loss or statistic that is not finite can have a finite gradient: let it show in the norm.
    whole = torch.linalg.vector_norm(tensors) + totals.verdict()
    if reduced.preconditioner is None:
        return GradientNorms(whole, tensors, None)
    products = list(torch._foreach_mul(gradients, reduced.preconditioner))
    return GradientNorms(whole, tensors, tensor_norms(products, totals.all.dtype))


def _clip(replica: Replica, gradients: list[Tensor], norm: Float[Tensor, ""]) -> None:
    """Scale the gradient to at most ``clip_norm``, as ``torch.nn.utils.clip_grad_norm_`` does."""
    if replica.options.clip_norm is not None:
        torch._foreach_mul_(gradients, (replica.options.clip_norm / (norm + 1e-6)).clamp(max=1.0))
