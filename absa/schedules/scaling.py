"""How the learning rate grows with the batch."""

import math
from typing import Literal

ScalingRule = Literal["linear", "sqrt", "none", "gain"]


def scaling_factor(rule: ScalingRule, global_batch: int, reference_batch: int) -> float:
    """Return what the learning rate of the reference batch is multiplied with.

    Linear keeps the expected movement per sample while the gradient changes little over a batch;
    the square root keeps its variance.

    Args:
        rule: "linear" (k), "sqrt" (square root of k) or "none" (1), with
            k = global_batch / reference_batch; "gain" depends on the noise scale
            (`absa.policy.following`), and is the square root until that is known.
        global_batch: Samples in one update, > 0.
        reference_batch: Samples the learning rate was chosen for, > 0.

    Returns:
        A factor > 0; below 1 for a batch below the reference.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.1 (linear); Krizhevsky 2014,
    arXiv:1404.5997, section 5 (square root).
    """
    k = global_batch / reference_batch
    if rule == "linear":
        return k
    return 1.0 if rule == "none" else math.sqrt(k)
