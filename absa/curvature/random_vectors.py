"""Random vectors that are the same on every rank and on every kind of device."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from absa.curvature.operator import Operator
from absa.order import hash_words


def normal(operator: Operator, seed: int, number: int) -> Float[Tensor, " dim"]:
    """Return independent normal numbers: a vector whose direction is uniformly distributed.

    Args:
        operator: Says how long, of which type and where.
        seed: Of the sequence of vectors, in [0, 2^64).
        number: Which vector of the sequence, at least 0.
    """
    drawn = torch.randn(operator.dim, dtype=operator.dtype, generator=_source(seed, number))
    return drawn.to(operator.device)


def signs(operator: Operator, seed: int, number: int) -> Float[Tensor, " dim"]:
    """Return -1 and 1 with equal probability, for the same arguments as `normal`."""
    coins = torch.empty(operator.dim, dtype=operator.dtype)
    coins.bernoulli_(0.5, generator=_source(seed, number))
    return coins.mul_(2).sub_(1).to(operator.device)


def _source(seed: int, number: int) -> torch.Generator:
    # Drawn on the host, and never from the global stream, which is the training's.
    word = hash_words(seed, index=np.array([number]))[0]
    return torch.Generator().manual_seed(int(word))
