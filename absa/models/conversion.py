"""Between plain and ghost batch-norm, in place."""

import warnings
from typing import TypeVar, cast

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from absa.models.ghost_batch_norm import GhostBatchNorm, batch_norms, checked_group

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def convert_batch_norm(model: AnyModule, group: int) -> AnyModule:
    """Turn every batch-norm of ``model`` into a ghost batch-norm over ``group`` samples.

    The modules stay the same objects, so parameters, buffers, hooks, modes and every reference to
    them live on; one that is a ghost batch-norm already gets the new group. Subclasses of
    batch-norm (lazy or parametrised ones, a library's own) may compute something else: they are
    left alone, with a warning.

    In a loop of your own, a training pass of N samples is then cut into ceil(N / group) equal
    groups and refused where that does not go: let the batch be a multiple of ``group``, and a
    ``DataLoader`` drop the last one.

    Args:
        model: Changed in place.
        group: Samples that share statistics, > 0.

    Returns:
        ``model``.

    Raises:
        ConfigError: ``group`` is not positive.
    """
    group = checked_group(group)
    unknown = []
    for name, module in model.named_modules():
        if isinstance(module, GhostBatchNorm):
            module.group = group
        elif type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm):
            plain = type(module)
            _change_class(module, GhostBatchNorm)
            ghost = cast(GhostBatchNorm, module)
            ghost.group, ghost.plain = group, plain
        elif isinstance(module, _BatchNorm):
            unknown.append(f"{name or 'the model itself'} ({type(module).__name__})")
    if unknown:
        warnings.warn(
            f"not turned into ghost batch-norm: {', '.join(unknown)}. Their statistics depend on "
            "the micro-batch, and their running statistics are those of one worker.",
            stacklevel=2,
        )
    return model


def revert_batch_norm(model: AnyModule) -> AnyModule:
    """Undo `convert_batch_norm`: every ghost batch-norm becomes the plain class that it was.

    Args:
        model: Changed in place.

    Returns:
        ``model``.
    """
    for module in batch_norms(model):
        plain = module.plain
        for name in ("group", "plain", "pending", "ignoring"):
            module.__dict__.pop(name, None)
        _change_class(module, plain)
    return model


def _change_class(module: nn.Module, new: type[nn.Module]) -> None:
    module.__class__ = new
