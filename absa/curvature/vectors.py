"""Between a flat vector and tensors in the shape of a model's parameters.

A vector holds the numbers of each tensor in row-major order, whatever their order in memory.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from absa.errors import MeasurementError


def flatten(tensors: Sequence[Tensor]) -> Float[Tensor, " dim"]:
    """Return all numbers of ``tensors``, at least one, as one new vector without a graph."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def unflatten(vector: Float[Tensor, " dim"], shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Return contiguous views of ``vector`` with these shapes, in its graph if it has one.

    Raises:
        MeasurementError: The vector has more or fewer numbers.
    """
    sizes = [math.prod(shape) for shape in shapes]
    if vector.shape != (sum(sizes),):
        raise MeasurementError(
            f"the vector has shape {tuple(vector.shape)}, but the model's trainable parameters "
            f"have {sum(sizes)} numbers: it must be flat, of shape ({sum(sizes)},)"
        )
    parts = vector.split(sizes)
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
