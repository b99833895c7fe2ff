"""One LARS step on an accelerator: a few kernels over all tensors; the host waits for none.

The buffer is the paper's ``v`` itself. Learning rate, trust ratios and the verdict on the gradients
stay on the device, so a step can be captured in a CUDA graph once the state exists (after one
ordinary step), and the captured step follows a learning rate that is a tensor.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from absa.optim.lars_cpu import BUFFER, Entry
from absa.optim.trust_ratio import LarsOptions, trust_ratios


def step_on_device(
    entries: Sequence[Entry], lr: float | Tensor, options: LarsOptions, found_inf: Tensor | None
) -> None:
    """Update every parameter in place; gradients are only read.

    Norms of float32 tensors are taken in float32: one below 1e-19 counts as zero.

    Args:
        entries: Dense real parameters; their momentum scale must be 1.
        lr: The learning rate, >= 0; a tensor is read on its device.
        options: The options of their group.
        found_inf: If this scalar tensor is 1, nothing changes.
    """
    key = lambda entry: (str(entry.param.device), str(entry.param.dtype))  # noqa: E731
    for _, same in groupby(sorted(entries, key=key), key):
        _step_alike(list(same), lr, options, found_inf)


def _step_alike(
    entries: list[Entry], lr: float | Tensor, options: LarsOptions, found_inf: Tensor | None
) -> None:
    """Update parameters that share device and dtype."""
    inside = options.lr_placement == "inside"
    plain = [entry for entry in entries if options.excludes(entry.param)]
    adapted = [entry for entry in entries if not options.excludes(entry.param)]
    directions: list[Tensor] = []
    if adapted:
        directions += _adapted_directions(adapted, lr, options)
    if plain:
        gradients = [entry.grad for entry in plain]
        directions += _scaled(gradients, lr) if inside else gradients
    ordered = adapted + plain
    torch._fused_sgd_(
        [entry.param for entry in ordered],
        directions,
        [entry.state[BUFFER] for entry in ordered] if options.momentum else [],
        weight_decay=0.0,
        momentum=options.momentum,
        lr=1.0 if inside else lr,
        dampening=0.0,
        nesterov=options.nesterov,
        maximize=False,
        is_first_step=False,
        found_inf=found_inf,
    )


def _adapted_directions(
    entries: Sequence[Entry], lr: float | Tensor, options: LarsOptions
) -> list[Tensor]:
    """Return gradient plus weight decay, times what it is multiplied with before the momentum."""
    # A 0-dimensional tensor has no length to broadcast the one-element factor into.
    params = [entry.param.view(1) if entry.param.ndim == 0 else entry.param for entry in entries]
    grads = [entry.grad.view_as(param) for entry, param in zip(entries, params, strict=True)]
    ratios = trust_ratios(_norms(params), _norms(grads), lr, options)
    gains = ratios * lr if options.lr_placement == "inside" else ratios
    if options.weight_decay:
        directions = torch._foreach_add(grads, params, alpha=options.weight_decay)
    else:
        directions = torch._foreach_mul(grads, 1.0)
    torch._foreach_mul_(directions, list(torch.split(gains, 1)))
    return [
        direction.view_as(entry.param) for direction, entry in zip(directions, entries, strict=True)
    ]


def _norms(tensors: list[Tensor]) -> Float[Tensor, " n"]:
    wide = torch.promote_types(tensors[0].dtype, torch.float32)
    return torch.stack(list(torch._foreach_norm(tensors, 2, dtype=wide)))


def _scaled(gradients: list[Tensor], lr: float | Tensor) -> list[Tensor]:
    if not isinstance(lr, Tensor) or lr.dtype == gradients[0].dtype:
        return list(torch._foreach_mul(gradients, lr))
    # One element instead of none: a tensor without dimensions would be rounded to theirs first.
    scaled = torch._foreach_mul(gradients, 1.0)
    torch._foreach_mul_(scaled, [lr.view(1) if grad.ndim else lr for grad in gradients])
    return list(scaled)
