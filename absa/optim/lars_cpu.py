"""One LARS step on the host, built on PyTorch's fused SGD kernel.

The paper's buffer ``v = m*v + c*g'; w -= v`` (c = learning rate * trust ratio, g' = gradient with
weight decay) is stored as ``v = scale * buffer``. With ``scale = c`` the buffer follows
``buffer = (m * c_previous / c) * buffer + g'; w -= c * buffer``: plain SGD with the learning rate c
and its own momentum factor, so one pass of a kernel that exists already updates a tensor. Both
norms are taken right before that pass, which then finds the tensor in the cache.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from absa.optim.layout import flat
from absa.optim.trust_ratio import LarsOptions, trust_ratio

BUFFER = "momentum_buffer"
SCALE = "momentum_scale"

FUSED_DTYPES = (torch.float32, torch.float64)
"""What PyTorch's fused SGD steps right on the host: up to 2.13 it leaves most of a bfloat16 or
float16 tensor as it was (pytorch/pytorch#191763; drop this when the oldest torch has the fix)."""

_SAFE_SQUARES = (1e-24, 1e30)
"""Sums of squares that float32 holds at full precision even over 10^7 elements."""

_SAFE_GROWTH = 2.0**20
"""Growth of the buffer in one step (the learning rate fell as far) that needs no look at it."""


class Entry(NamedTuple):
    """A parameter, its gradient in the same memory layout, and what LARS keeps about it."""

    param: Tensor
    grad: Tensor
    state: dict[str, Any]


class Pace(NamedTuple):
    """How fast a tensor moves in this step."""

    gain: float
    """What the gradient is multiplied with on its way into the momentum."""
    lr: float
    """What the momentum is multiplied with on its way into the weights."""
    weight_decay: float


def step_on_host(entries: Sequence[Entry], lr: float, options: LarsOptions) -> None:
    """Update every parameter in place; gradients are only read.

    Excluded tensors with equal history share one call of the kernel: most tensors of a network
    are tiny, and what they cost is the call.

    Args:
        entries: Dense real parameters on the CPU.
        lr: The learning rate, >= 0.
        options: The options of their group.
    """
    inner, outer = (lr, 1.0) if options.lr_placement == "inside" else (1.0, lr)
    together: dict[tuple[torch.dtype, float], list[Entry]] = {}
    adapted = []
    for entry in entries:
        if options.excludes(entry.param):
            key = (entry.param.dtype, entry.state.get(SCALE, 0.0))
            together.setdefault(key, []).append(entry)
        else:
            adapted.append(entry)
    # The many small ones first, before the large ones push all that was just read from the cache.
    for group in together.values():
        _advance(group, Pace(inner, outer, 0.0), options)
    for entry in adapted:
        ratio = trust_ratio(norm(entry.param), norm(entry.grad), lr, options)
        _advance([entry], Pace(ratio * inner, outer, options.weight_decay), options)


def norm(tensor: Float[Tensor, "..."]) -> float:
    """Return the Euclidean norm, also where the squares leave the range of float32."""
    line = flat(tensor)
    if line.dtype in FUSED_DTYPES:
        squares = torch.dot(line, line).item()
        if _SAFE_SQUARES[0] < squares < _SAFE_SQUARES[1]:
            return math.sqrt(squares)
    return float(torch.linalg.vector_norm(line, dtype=torch.float64))


def _advance(entries: Sequence[Entry], pace: Pace, options: LarsOptions) -> None:
    """Update tensors that share a dtype, a pace and a momentum scale."""
    if entries[0].param.dtype not in FUSED_DTYPES:
        for entry in entries:
            _step_unfused(entry, pace, options)
        return
    if options.momentum == 0:
        _fused_sgd(entries, [], 0.0, pace, options)
        return
    buffers = [entry.state[BUFFER] for entry in entries]
    growth = entries[0].state[SCALE] / pace.gain if pace.gain != 0 else math.inf
    if growth > _SAFE_GROWTH and (pace.gain == 0 or not _fits(buffers, growth)):
        for entry in entries:
            _step_unfused(entry, pace, options)
        return
    factor = options.momentum * growth
    if options.nesterov and factor != 0:
        # The kernel looks ahead by the factor it is given, which must then be the true momentum.
        torch._foreach_mul_(buffers, growth)
        factor = options.momentum
    _fused_sgd(entries, buffers, factor, pace, options)
    for entry in entries:
        entry.state[SCALE] = pace.gain


def _fits(buffers: Sequence[Tensor], growth: float) -> bool:
    """Return whether the buffers stay far from overflow when they grow that much."""
    room = torch.finfo(buffers[0].dtype).max * 1e-6 / growth
    return all(float(buffer.abs().max()) < room for buffer in buffers if buffer.numel())


def _fused_sgd(
    entries: Sequence[Entry],
    buffers: list[Tensor],
    factor: float,
    pace: Pace,
    options: LarsOptions,
) -> None:
    # The kernel takes no factor of zero beside a buffer; its first step overwrites the buffer.
    is_first_step = bool(buffers) and factor == 0
    torch._fused_sgd_(
        [entry.param for entry in entries],
        [entry.grad for entry in entries],
        buffers,
        weight_decay=pace.weight_decay,
        momentum=options.momentum if is_first_step else factor,
        lr=pace.gain * pace.lr,
        dampening=0.0,
        nesterov=options.nesterov,
        maximize=False,
        is_first_step=is_first_step,
    )


def _step_unfused(entry: Entry, pace: Pace, options: LarsOptions) -> None:
    """Update a tensor in its old momentum scale: the gain is zero or too small to become the scale.

    Narrow dtypes are computed in float32 and rounded once at the end, as the kernels do.
    """
    param, grad, state = entry
    wide = torch.promote_types(param.dtype, torch.float32)
    direction = grad.to(wide).add(param, alpha=pace.weight_decay)
    weights = param.to(wide)
    if options.momentum == 0:
        weights.add_(direction, alpha=-pace.lr * pace.gain)
    elif pace.gain == 0:
        state[SCALE] *= options.momentum
        ahead = options.momentum if options.nesterov else 1.0
        weights.add_(state[BUFFER], alpha=-pace.lr * state[SCALE] * ahead)
    else:
        momentum = _remember(state, direction, pace.gain, options.momentum)
        if options.nesterov:
            weights.add_(momentum, alpha=-pace.lr * state[SCALE] * options.momentum)
            weights.add_(direction, alpha=-pace.lr * pace.gain)
        else:
            weights.add_(momentum, alpha=-pace.lr * state[SCALE])
    if weights is not param:
        param.copy_(weights)


def _remember(state: dict[str, Any], direction: Tensor, gain: float, momentum: float) -> Tensor:
    """Add a direction to the momentum and return its buffer before it is rounded."""
    if state[SCALE] == 0:
        state[BUFFER].zero_()
        state[SCALE] = gain
    moved: Tensor = state[BUFFER].to(direction.dtype)
    moved.mul_(momentum).add_(direction, alpha=gain / state[SCALE])
    if moved is not state[BUFFER]:
        state[BUFFER].copy_(moved)
    return moved
