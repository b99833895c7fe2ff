"""What curvature is measured of: the mean loss of a model on samples that never change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from absa.collective import ALONE, Collective
from absa.task import Batch

Losses = Callable[[nn.Module, Batch], Float[Tensor, " samples"]]
"""One loss per sample, such as `absa.task.Task.losses`."""

Weights = Callable[[Batch], Float[Tensor, " samples"]]
"""What each sample weighs in the mean."""


@dataclass(frozen=True)
class Problem:
    """The mean loss whose Hessian is wanted: sum of weighted losses / sum of weights.

    Args:
        model: The bare module, not wrapped for data-parallel training; its trainable parameters are
            what is differentiated by. Measuring leaves it as it is, to the bit.
        losses: One loss per sample, never reduced.
        passes: This rank's samples as the model takes them, in pieces that go through it at once;
            may be empty on some ranks. The mean is over all passes of all ranks.
        weights: None: all samples weigh the same.
        collective: The ranks that share the samples; every rank measures at the same time.
    """

    model: nn.Module
    losses: Losses
    passes: Sequence[Batch]
    weights: Weights | None = None
    collective: Collective = ALONE
