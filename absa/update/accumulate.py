"""Forward and backward over one rank's share of an update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from absa.adversary.attack import attacked, perturbed
from absa.losses import checked_losses, checked_weights
from absa.task import Batch
from absa.update.cut import Pass, row_order
from absa.update.replica import Replica, to_device, weights_of
from absa.update.scalars import Totals


@dataclass(frozen=True)
class Share:
    """What one rank takes of an update.

    Args:
        passes: In order; may be empty.
        epoch: In which the update lies.
        start: Position of the update's first sample in the epoch.
        num_samples: Samples of the whole update, over all ranks.
        adversarial_ratio: Share of the samples that are perturbed before they are trained on.
    """

    passes: Sequence[Pass]
    epoch: int
    start: int
    num_samples: int
    adversarial_ratio: float = 0.0


class Watch(Protocol):
    """Looks at the gradients between passes; nothing that it does may change them."""

    def before_pass(self) -> None:
        """The gradients do not have the coming pass in them yet."""
        ...

    def after_pass(self, share: Share, each: Pass, weight: Tensor | float) -> None:
        """The gradient of this pass, whose samples weigh so much together, is added."""
        ...


def accumulate(
    replica: Replica,
    share: Share,
    totals: Totals,
    before_last: Callable[[], None],
    watch: Watch | None = None,
) -> None:
    """Add up the gradient of the share's (weighted) loss sum / ``num_samples`` in ``.grad``.

    Args:
        replica: The rank's model and data.
        share: The rank's part of the update.
        totals: The sums of weighted losses and of weights over the share are added to it.
        before_last: Called before the last pass, whose backward completes each gradient.
        watch: Told of every pass.

    Raises:
        ConfigError: Samples are to be perturbed, but the task does not say what its inputs are.
        TaskError: The task's losses or weights are not one number per sample.
    """
    for number, each in enumerate(share.passes, start=1):
        if watch:
            watch.before_pass()
        if number == len(share.passes):
            before_last()
        loss, weight = backward(replica, share, each)
        totals.loss.add_(loss)
        totals.weight.add_(weight)
        if watch:
            watch.after_pass(share, each, weight)


def backward(replica: Replica, share: Share, each: Pass) -> tuple[Tensor, Tensor | float]:
    """Add the gradient of one pass; return the sums of its weighted losses and of its weights."""
    batch = _fetch(replica, each, share.epoch, share.start + each.start)
    if share.adversarial_ratio:
        positions = share.start + each.start + row_order(each)
        (rows,) = attacked(positions, share.adversarial_ratio).nonzero()
        batch = perturbed(replica, batch, rows, partial(_losses, replica))
    losses = _losses(replica, batch, each.size)
    weights_function = weights_of(replica.task)
    if weights_function is None:
        losses.backward(torch.full_like(losses, 1 / share.num_samples))
        return losses.detach().sum(), each.size
    weights = checked_weights(weights_function(batch), each.size).to(losses.dtype)
    losses.backward(weights / share.num_samples)
    return torch.dot(losses.detach(), weights), weights.sum()


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
