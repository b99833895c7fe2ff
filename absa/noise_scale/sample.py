"""What one update tells of the gradient noise: squared norms at two batch sizes."""

from dataclasses import dataclass

Norms = tuple[float, ...]
"""One squared norm per tensor of the model, in the order of its parameters."""


@dataclass(frozen=True)
class NormSample:
    """The squared norms of an update's gradient and of the gradients of its units.

    A unit is a part of the update whose gradient was seen on its own: a rank's share or one pass of
    it, made of whole batch-norm groups. Let unit u have b_u samples that weigh W_u in all, and s_u
    be the gradient of its *sum* of weighted losses. The update has B = sum of b_u samples of weight
    W = sum of W_u, and the gradient g = sum of s_u / W.

    Args:
        num_samples: B, at least 1.
        weight: W; equal to B unless samples weigh differently.
        gradient: |g|^2 per tensor, before clipping, loss scaling undone.
        units: Sum over units of |s_u|^2 / W_u per tensor, or None if units were not looked at.
        samples_per_weight: Sum over units of b_u / W_u: the number of units where all samples weigh
            1. Unused without ``units``.
        preconditioned: The same two sums with every gradient multiplied by the optimizer's
            preconditioner of before this update, or None.
    """

    num_samples: int
    weight: float
    gradient: Norms
    units: Norms | None = None
    samples_per_weight: float = 0.0
    preconditioned: tuple[Norms, Norms] | None = None
