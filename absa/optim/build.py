"""Optimizers from their configuration, and what the training loop does to them between updates."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from absa.errors import ConfigError, TaskError
from absa.optim.config import OptimizerConfig
from absa.optim.lars import LARS
from absa.optim.lars_cpu import FUSED_DTYPES


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """Build the optimizer of a job over the trainable parameters of a model.

    A parameter that is shared between modules enters once. SGD and AdamW take PyTorch's fused
    kernels where all parameters allow it.

    Args:
        config: The ``optimizer`` section.
        model: On the device on which it will train.

    Raises:
        TaskError: The model has no trainable parameter, or one that LARS cannot step.
    """
    params = [param for param in model.parameters() if param.requires_grad]
    if not params:
        raise TaskError(
            f"{type(model).__name__} has no trainable parameter: an optimizer has nothing to step; "
            "return a module with parameters that require a gradient"
        )
    options = config.model_dump(include=set(config.reads[config.name]), exclude={"lr"})
    if config.name == "lars":
        return LARS(params, config.lr, **options)
    groups = _groups(params, decay_one_dimensional=options.pop("decay_one_dimensional"))
    fused = _can_fuse(params)
    if config.name == "sgd":
        return SGD(groups, config.lr, fused=fused, **options)
    return AdamW(groups, config.lr, fused=fused, **options)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of every group; one that is a tensor is written in place.

    Raises:
        ConfigError: The learning rate is negative or not finite.
    """
    if not (math.isfinite(lr) and lr >= 0):
        raise ConfigError(f"a learning rate must be finite and >= 0, got {lr}")
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def rescale_momentum(optimizer: Optimizer, factor: float) -> None:
    """Correct the momentum when the learning rate jumps by ``factor``.

    Only where the momentum holds the learning rate (LARS, unless it is kept outside); SGD and AdamW
    keep gradients in their buffers and need nothing.

    Args:
        optimizer: Any optimizer.
        factor: New learning rate / old one; finite, >= 0.

    Raises:
        ConfigError: The factor is negative or not finite.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 3, remark 2.
    """
    if isinstance(optimizer, LARS):
        optimizer.rescale_momentum(factor)


def _groups(params: Sequence[nn.Parameter], *, decay_one_dimensional: bool) -> list[dict[str, Any]]:
    if decay_one_dimensional:
        return [{"params": list(params)}]
    wide = [param for param in params if param.ndim > 1]
    narrow = [param for param in params if param.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": wide}, {"params": narrow, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _can_fuse(params: Sequence[Tensor]) -> bool:
    return all(
        (param.device.type == "cuda" and param.is_floating_point())
        or (param.device.type == "cpu" and param.dtype in FUSED_DTYPES)
        for param in params
    )
