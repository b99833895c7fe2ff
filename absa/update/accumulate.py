"""Forward and backward over one rank's share of an update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from absa.errors import TaskError
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
    """

    passes: Sequence[Pass]
    epoch: int
    start: int
    num_samples: int


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
    losses = _losses(replica, batch, each.size)
    weights_function = weights_of(replica.task)
    if weights_function is None:
        losses.backward(torch.full_like(losses, 1 / share.num_samples))
        return losses.detach().sum(), each.size
    weights = _checked(weights_function(batch), "task.weights", each.size).detach()
    weights = weights.to(losses.dtype)
    losses.backward(weights / share.num_samples)
    return torch.dot(losses.detach(), weights), weights.sum()


def _losses(replica: Replica, batch: Batch, num_samples: int) -> Float[Tensor, " samples"]:
    if replica.options.precision == "fp32":
        losses = replica.task.losses(replica.model, batch)
    else:
        with torch.autocast(replica.device.type, torch.bfloat16):
            losses = replica.task.losses(replica.model, batch)
    losses = _checked(losses, "task.losses", num_samples)
    if not losses.requires_grad:
        raise TaskError(
            "task.losses returned a tensor that does not depend on the model's parameters: no "
            "gradient can flow; it must not detach or run under torch.no_grad"
        )
    # In bfloat16 the factor 1 / num_samples would be off by up to 0.4 %.
    return losses.float() if losses.dtype.itemsize < 4 else losses


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


def _checked(values: Tensor, what: str, num_samples: int) -> Float[Tensor, " samples"]:
    """Return what the task returned if it is one number per sample."""
    if isinstance(values, Tensor) and values.shape == (num_samples,) and values.is_floating_point():
        return values
    if isinstance(values, Tensor):
        got = f"{values.dtype} of shape {tuple(values.shape)}"
        advice = ", not a mean or sum over them" if values.ndim == 0 else ""
    else:
        got, advice = f"a {type(values).__name__}", ""
    raise TaskError(
        f"{what} returned {got} for {num_samples} samples; it must return one finite number per "
        f"sample, a floating tensor of shape ({num_samples},){advice}"
    )
