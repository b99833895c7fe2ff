"""The trust ratio of LARS: how far the norms of a tensor and its gradient let the tensor move."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from absa.errors import ConfigError

Exclude = Literal["none", "one_dimensional"]
Adaptation = Literal["scale", "clip"]
LrPlacement = Literal["inside", "outside"]


@dataclass(frozen=True)
class LarsOptions:
    """What a parameter group fixes besides its learning rate; each field is explained in `LARS`.

    Raises:
        ConfigError: A value is out of range, or Nesterov is asked for without momentum.
    """

    momentum: float
    weight_decay: float
    trust_coefficient: float
    eps: float
    nesterov: bool
    exclude: Exclude
    adaptation: Adaptation
    lr_placement: LrPlacement

    def __post_init__(self) -> None:
        bounds = {
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "weight_decay": (0 <= self.weight_decay < float("inf"), "finite and >= 0"),
            "trust_coefficient": (0 < self.trust_coefficient < float("inf"), "finite and > 0"),
            "eps": (0 <= self.eps < float("inf"), "finite and >= 0"),
            "exclude": (self.exclude in ("none", "one_dimensional"), "none or one_dimensional"),
            "adaptation": (self.adaptation in ("scale", "clip"), "scale or clip"),
            "lr_placement": (self.lr_placement in ("inside", "outside"), "inside or outside"),
        }
        for name, (allowed, what) in bounds.items():
            if not allowed:
                raise ConfigError(f"LARS: {name} must be {what}, got {getattr(self, name)!r}")
        if self.nesterov and self.momentum == 0:
            raise ConfigError("LARS: nesterov needs momentum > 0, got momentum = 0")

    def excludes(self, param: Tensor) -> bool:
        """Return whether ``param`` moves at the plain learning rate, without weight decay."""
        return self.exclude == "one_dimensional" and param.ndim <= 1


def trust_ratio(weight_norm: float, grad_norm: float, lr: float, options: LarsOptions) -> float:
    """Return what the learning rate of one tensor is multiplied with.

    The paper's local rate is ``trust * |w| / (|g| + weight_decay * |w| + eps)``. Clipping (as in
    LARC and the authors' Caffe) bounds the tensor's learning rate, local rate * lr, by replacing
    the product with ``min(local rate, lr)``.

    A tensor whose weights or gradient are all zero keeps the plain learning rate (ratio 1). Zero
    weights would otherwise never leave zero; with a zero gradient only weight decay is left, and
    the formula would shrink the tensor by ``trust * lr`` whatever the decay, even where it is 0.

    Args:
        weight_norm: Euclidean norm of the whole weight tensor.
        grad_norm: The same of its gradient, unscaled and before weight decay.
        lr: The learning rate; may be 0.
        options: The options of the tensor's group.

    Returns:
        A ratio >= 0; NaN if a norm is not finite, so that a broken gradient shows.

    Source: arXiv:1708.03888, section 4, equation (6).
    """
    if weight_norm == 0 or grad_norm == 0:
        return 1.0
    if not (weight_norm < float("inf") and grad_norm < float("inf")):
        return float("nan")
    denominator = grad_norm + options.weight_decay * weight_norm + options.eps
    local = options.trust_coefficient * weight_norm / denominator
    if options.adaptation == "scale":
        return local
    return 1.0 if local >= lr else local / lr


def trust_ratios(
    weight_norms: Float[Tensor, " n"],
    grad_norms: Float[Tensor, " n"],
    lr: float | Tensor,
    options: LarsOptions,
) -> Float[Tensor, " n"]:
    """Return `trust_ratio` of many tensors without looking at a value (no host synchronisation)."""
    denominator = grad_norms + options.weight_decay * weight_norms + options.eps
    local = options.trust_coefficient * weight_norms / denominator
    ratios = local if options.adaptation == "scale" else torch.where(local >= lr, 1.0, local / lr)
    is_zero = (weight_norms == 0) | (grad_norms == 0)
    is_finite = torch.isfinite(weight_norms) & torch.isfinite(grad_norms)
    return torch.where(is_zero, 1.0, torch.where(is_finite, ratios, float("nan")))
