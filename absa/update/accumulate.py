"""Forward and backward over one rank's share of an update."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from absa.losses import checked_losses, checked_weights
from absa.task import Batch
from absa.update.cut import Pass, row_order
from absa.update.replica import Replica, to_device, weights_of
from absa.update.scalars import Totals


def accumulate(
    replica: Replica,
    passes: Sequence[Pass],
    start: tuple[int, int],
    num_samples: int,
    totals: Totals,
    before_last: Callable[[], None],
) -> None:
    """Add up the gradient of the share's (weighted) loss sum / ``num_samples`` in ``.grad``.

    Args:
        replica: The rank's model and data.
        passes: The share, in order; may be empty.
        start: Epoch, and position in it, of the update's first sample.
        num_samples: Samples of the whole update, over all ranks.
        totals: The sums of weighted losses and of weights over the share are added to it.
        before_last: Called before the last pass, whose backward completes each gradient.

    Raises:
        TaskError: The task's losses or weights are not one number per sample.
    """
    for number, share in enumerate(passes, start=1):
        if number == len(passes):
            before_last()
        _backward(replica, share, start, num_samples, totals)


def _backward(
    replica: Replica, share: Pass, start: tuple[int, int], num_samples: int, totals: Totals
) -> None:
    batch = _fetch(replica, share, start[0], start[1] + share.start)
    losses = _losses(replica, batch, share.size)
    weights_function = weights_of(replica.task)
    if weights_function is None:
        losses.backward(torch.full_like(losses, 1 / num_samples))
        totals.loss.add_(losses.detach().sum())
        totals.weight.add_(share.size)
        return
    weights = checked_weights(weights_function(batch), share.size).to(losses.dtype)
    losses.backward(weights / num_samples)
    totals.loss.add_(torch.dot(losses.detach(), weights))
    totals.weight.add_(weights.sum())


def _losses(replica: Replica, batch: Batch, num_samples: int) -> Float[Tensor, " samples"]:
    if replica.options.precision == "fp32":
        losses = replica.task.losses(replica.model, batch)
    else:
        with torch.autocast(replica.device.type, torch.bfloat16):
            losses = replica.task.losses(replica.model, batch)
    return checked_losses(losses, num_samples)


def _fetch(replica: Replica, share: Pass, epoch: int, first: int) -> Batch:
    indices = replica.order.indices(epoch, first, first + share.size)
    keys = replica.order.keys(epoch, first, first + share.size)
    # Dropout and the like draw from torch's global stream: key it by what is being computed.
    _seed(replica.device, keys[0])
    if share.num_groups > 1:
        rows = row_order(share)
        indices, keys = indices[rows], keys[rows]
    batch = to_device(replica.train.fetch(indices, keys), replica.device)
    return replica.train.transform(batch)


def _seed(device: torch.device, key: np.uint64) -> None:
    seed = int(key) >> 1  # torch takes 63 bits
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
