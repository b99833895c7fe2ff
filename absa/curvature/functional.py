"""A pass's loss as a pure function of the trainable parameters, for `torch.func`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from absa.curvature.passes import num_samples_of
from absa.curvature.problem import Losses
from absa.curvature.trainable import trainable_parameters
from absa.losses import checked_losses
from absa.task import Batch

Slots = Sequence[tuple[dict[str, Tensor | None], str, int]]
"""A module's tensors, a name among them, and the number of the tensor that stands there."""


@dataclass(frozen=True)
class LossSum:
    """The sum of weighted losses, for parameters that are given.

    They stand in for the model's own in every module that holds one, under whatever name. Where a
    parameter is held past the modules (in a list, a closure), the model's own is used, and what it
    contributes to derivatives is missed. The model gets copies of its buffers: `torch.func` does
    not let it write to others.

    Not by `torch.func.functional_call`: where a module hangs on two names it leaves its tensors in
    the model for good (github.com/pytorch/pytorch/issues/164759, open as of torch 2.13).

    Args:
        model: Whose losses.
        losses: One per sample.
        parameters: Where the trainable ones stand.
        buffers: Where the buffers stand.
    """

    model: nn.Module
    losses: Losses
    parameters: Slots
    buffers: Slots

    def __call__(
        self, parameters: Sequence[Tensor], batch: Batch, weights: Tensor | None
    ) -> Float[Tensor, ""]:
        """Return the sum over a pass.

        Args:
            parameters: In the order of `trainable_parameters`.
            batch: The samples.
            weights: One per sample, or None: all weigh 1.
        """
        slots = [*self.parameters, *self.buffers]
        before = [tensors[name] for tensors, name, _ in slots]
        try:
            for tensors, name, number in self.parameters:
                tensors[name] = parameters[number]
            copies: dict[int, Tensor] = {}
            for tensors, name, number in self.buffers:
                buffer = tensors[name]
                if number not in copies and buffer is not None:
                    copies[number] = buffer.clone()
                tensors[name] = copies[number]
            losses = checked_losses(self.losses(self.model, batch), num_samples_of(batch))
        finally:
            for (tensors, name, _), tensor in zip(slots, before, strict=True):
                tensors[name] = tensor
        return losses.sum() if weights is None else losses @ weights.to(losses.dtype)


def functional(model: nn.Module, losses: Losses) -> LossSum:
    """Return the losses of ``model`` as a function of its trainable parameters."""
    modules = list(model.modules())
    parameters = _slots((m._parameters for m in modules), trainable_parameters(model))
    buffers = _slots((m._buffers for m in modules), list(model.buffers()))
    return LossSum(model, losses, parameters, buffers)


def _slots(dicts: Iterable[dict[str, Any]], wanted: Sequence[Tensor]) -> Slots:
    numbers = {id(tensor): number for number, tensor in enumerate(wanted)}
    return [
        (tensors, name, numbers[id(tensor)])
        for tensors in dicts
        for name, tensor in tensors.items()
        if id(tensor) in numbers
    ]
