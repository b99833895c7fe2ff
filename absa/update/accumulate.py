"""Forward and backward over one rank's share of an update."""

import contextlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from absa.errors import TaskError
from absa.update.cut import Pass, row_order
from absa.update.replica import Replica, to_device, weights_of


def accumulate(
    replica: Replica,
    passes: Sequence[Pass],
    start: tuple[int, int],
    num_samples: int,
    before_last: Callable[[], None],
) -> tuple[Tensor, Tensor]:
    """Add up the gradient of the share's loss sum / ``num_samples`` in ``.grad``.

    Args:
        replica: The rank's model and data.
        passes: The share, in order; may be empty.
        start: Epoch, and position in it, of the update's first sample.
        num_samples: Samples of the whole update, over all ranks.
        before_last: Called before the last pass, whose backward completes each gradient.

    Returns:
        Sum of weighted losses and sum of weights over the share, scalars on the device.
    """
    zero = torch.zeros((), device=replica.device)
    loss_sum, weight_sum = zero, zero
    for number, share in enumerate(passes, start=1):
        if number == len(passes):
            before_last()
        loss, weight = _backward(replica, share, start, num_samples)
        loss_sum, weight_sum = loss_sum + loss, weight_sum + weight
    return loss_sum, weight_sum


def _backward(
    replica: Replica, share: Pass, start: tuple[int, int], num_samples: int
) -> tuple[Tensor, Tensor | int]:
    epoch, position = start
    batch = _fetch(replica, share, epoch, position + share.start)
    # Dropout and the like draw from torch's global stream: key it by what is being computed.
    _seed_layers(replica, epoch, position + share.start)
    with _autocast(replica):
        losses = replica.task.losses(replica.model, batch)
    _check_shape(losses, share)
    weights_function = weights_of(replica.task)
    if weights_function is None:
        losses.backward(torch.full_like(losses, 1 / num_samples))
        return losses.detach().float().sum(), share.size
    weights = weights_function(batch).to(losses.dtype)
    losses.backward(weights / num_samples)
    return (losses.detach() * weights).float().sum(), weights.float().sum()


def _fetch(replica: Replica, share: Pass, epoch: int, first: int) -> object:
    indices = replica.order.indices(epoch, first, first + share.size)
    keys = replica.order.keys(epoch, first, first + share.size)
    if share.num_groups > 1:
        rows = row_order(share)
        indices, keys = indices[rows], keys[rows]
    batch = to_device(replica.train.fetch(indices, keys), replica.device)
    return replica.train.transform(batch)


def _seed_layers(replica: Replica, epoch: int, position: int) -> None:
    key = int(replica.order.keys(epoch, position, position + 1)[0]) >> 1
    torch.default_generator.manual_seed(key)
    if replica.device.type == "cuda":
        torch.cuda.manual_seed(key)


def _autocast(replica: Replica) -> contextlib.AbstractContextManager[None]:
    if replica.options.precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(replica.device.type, torch.bfloat16)


def _check_shape(losses: Tensor, share: Pass) -> None:
    if losses.shape != (share.size,):
        raise TaskError(
            f"task.losses returned a tensor of shape {tuple(losses.shape)} for {share.size} "
            f"samples; it must return one loss per sample, of shape ({share.size},), not reduced"
        )
