"""Norms of the gradients of an update's units; the host never waits for the device."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from absa.update.accumulate import Share
from absa.update.cut import Pass
from absa.update.gradients import gradients_of, tensor_norms
from absa.update.reducer import dense
from absa.update.scalars import Totals


class Units:
    """Adds what the passes of one rank say to the totals; each of them is a unit.

    It watches `absa.update.accumulate.accumulate`. Gradients are only read: what the first pass
    added is the gradient itself; what a later one added is the difference to a copy of before, in
    memory that is taken once, as much as the gradients take.

    Args:
        parameters: Whose gradients are looked at.
        totals: Where the sums go.
    """

    preconditioner: list[Tensor] | None = None
    """What gradients are multiplied with, element by element, for the second row of sums."""

    def __init__(self, parameters: Sequence[nn.Parameter], totals: Totals) -> None:
        self._parameters, self._totals = parameters, totals
        self._kept: list[Tensor] = []
        self._is_first = True

    def before_pass(self) -> None:
        """Keep the gradients, unless there are none yet."""
        gradients = [parameter.grad for parameter in self._parameters]
        self._is_first = all(gradient is None for gradient in gradients)
        if self._is_first:
            return
        if not self._kept:
            self._kept = [torch.empty_like(parameter) for parameter in self._parameters]
        places, found = [], []
        for place, gradient in zip(self._kept, gradients, strict=True):
            if gradient is None:
                place.zero_()
                continue
            places.append(place)
            found.append(dense(gradient))
        torch._foreach_copy_(places, found)

    def after_pass(self, share: Share, each: Pass, weight: Tensor | float) -> None:
        """Count the pass as a unit."""
        added = gradients_of(self._parameters)
        if not self._is_first:
            torch._foreach_sub_(self._kept, added)
            added = self._kept
        self.count(added, share.num_samples**2 / weight, each.size / weight)

    def count(
        self, gradients: list[Tensor], factor: Tensor | float, samples_per_weight: Tensor | float
    ) -> None:
        """Add ``factor`` times the squared norms to the totals."""
        totals = self._totals
        self._add(0, gradients, factor)
        if self.preconditioner is not None:
            self._add(1, list(torch._foreach_mul(gradients, self.preconditioner)), factor)
        totals.samples_per_weight.add_(samples_per_weight)

    def _add(self, row: int, tensors: list[Tensor], factor: Tensor | float) -> None:
        norms = tensor_norms(tensors, self._totals.all.dtype)
        self._totals.units[row].add_(norms.square_().mul_(factor))
