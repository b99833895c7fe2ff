"""What optimizers multiply gradients with, as far as it does not depend on the update's own."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from absa.noise_scale.sample import Norms, NormSample
from absa.optim.lars import LARS
from absa.optim.trust_ratio import LarsOptions, trust_ratio
from absa.update.gradients import tensor_norms


def is_elementwise(optimizer: Optimizer) -> bool:
    """Return whether every element of a gradient is multiplied with a factor of its own."""
    return isinstance(optimizer, AdamW)


def elementwise(optimizer: Optimizer, parameters: Sequence[nn.Parameter]) -> list[Tensor] | None:
    """Return Adam's 1 / (sqrt(v) + eps), with v the bias-corrected average of squared gradients.

    v is that of before the update: after it, it depends on the very gradient that is multiplied,
    and the square of the product would no longer be that of a sum of independent terms.

    Args:
        optimizer: Its state is the same on all ranks that have one.
        parameters: In which order.

    Returns:
        A new tensor like each parameter. None if the optimizer is another one, or has not stepped
        every parameter yet.

    Source: Kingma, Ba 2015, arXiv:1412.6980, algorithm 1.
    """
    if not is_elementwise(optimizer):
        return None
    factors: dict[nn.Parameter, Tensor] = {}
    for group in optimizer.param_groups:
        # Not optimizer.state[parameter], which would make a state.
        states = [optimizer.state.get(parameter, {}) for parameter in group["params"]]
        if not all(states):
            return None
        second = "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"
        # In float64: the second beta is so near 1 that float32 would leave five digits.
        corrections = [1 - group["betas"][1] ** state["step"].double() for state in states]
        found = list(torch._foreach_div([state[second] for state in states], corrections))
        torch._foreach_sqrt_(found)
        torch._foreach_add_(found, group["eps"])
        torch._foreach_reciprocal_(found)
        factors |= dict(zip(group["params"], found, strict=True))
    return [factors[parameter] for parameter in parameters]


def weight_norms(
    optimizer: Optimizer, parameters: Sequence[nn.Parameter], dtype: torch.dtype
) -> Float[Tensor, " tensors"] | None:
    """Return the norms of the weights, for `by_trust`, if a trust ratio is made of them."""
    if not isinstance(optimizer, LARS):
        return None
    return tensor_norms([parameter.detach() for parameter in parameters], dtype)


def trust_options(
    optimizer: Optimizer, parameters: Sequence[nn.Parameter]
) -> tuple[LarsOptions | None, ...]:
    """Return what LARS makes each tensor's trust ratio with, for `by_trust`; None: it has none.

    Args:
        optimizer: Of another optimizer's tensors none has a trust ratio.
        parameters: In which order.
    """
    found: dict[nn.Parameter, LarsOptions] = {}
    for group in optimizer.param_groups if isinstance(optimizer, LARS) else ():
        options = LarsOptions(**{name: group[name] for name in LarsOptions.__dataclass_fields__})
        found |= {p: options for p in group["params"] if not options.excludes(p)}
    return tuple(found.get(parameter) for parameter in parameters)


def by_trust(
    sample: NormSample,
    norms: tuple[Norms, Norms],
    options: Sequence[LarsOptions | None],
    lr: float,
) -> NormSample:
    """Return a measured sample with what LARS makes of it in ``preconditioned``.

    LARS multiplies a whole tensor with its trust ratio, so norms are enough, and the host can do it
    when it is told of the update. The ratio has a gradient's norm in it. That of the update itself
    will not do: the product would have the same norm whatever the noise, and where the noise
    outweighs the gradient, the estimate of |G|^2 would be pulled below zero. With that of an update
    before it the ratio does not depend on the samples that it is applied to.

    Args:
        sample: Of one measured update, with its units.
        norms: Squared norms, per tensor, of the weights before the update
            (`absa.update.scalars.UpdateResult.weights`), and of the gradient that the optimizer was
            given in an earlier one, clipped if it was.
        options: From `trust_options`.
        lr: The update's learning rate.
    """
    if sample.units is None:
        return sample
    squares = [
        1.0 if each is None else trust_ratio(math.sqrt(w), math.sqrt(g), lr, each) ** 2
        for w, g, each in zip(*norms, options, strict=True)
    ]
    gradient, units = (
        tuple(square * norm for square, norm in zip(squares, row, strict=True))
        for row in (sample.gradient, sample.units)
    )
    return replace(sample, preconditioned=(gradient, units))
