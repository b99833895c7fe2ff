"""A pass's loss as a pure function of the trainable parameters, for `torch.func`."""

from jaxtyping import Float
from torch import Tensor, nn

from absa.curvature.mean import num_samples_of
from absa.curvature.problem import Losses, Problem
from absa.losses import checked_losses
from absa.task import Batch

Named = dict[str, Tensor]
"""Tensors by the names of the trainable parameters, in their order."""


class LossSum(nn.Module):
    """The losses as a module around the model, whose parameters can then be put in from outside.

    A module that occurs twice, or a parameter that two modules share, is put in everywhere. What
    holds a parameter outside of the modules' own attributes (a list, a closure) is not reached.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.model = problem.model
        self._losses: Losses = problem.losses

    def forward(self, batch: Batch, weights: Tensor | None) -> Float[Tensor, ""]:
        """Return the sum of weighted losses."""
        losses = checked_losses(self._losses(self.model, batch), num_samples_of(batch))
        return losses.sum() if weights is None else losses @ weights.to(losses.dtype)
