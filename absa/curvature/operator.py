"""The seam between linear algebra and networks: a symmetric matrix that is only multiplied with."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor


class Operator(Protocol):
    """A symmetric matrix; the same on every rank."""

    @property
    def dim(self) -> int:
        """The number of rows."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the vectors."""
        ...

    @property
    def device(self) -> torch.device:
        """Of the vectors."""
        ...

    def product(self, vector: Float[Tensor, " dim"]) -> Float[Tensor, " dim"]:
        """Return the matrix times ``vector``, a new tensor."""
        ...


class CurvatureOperator(Operator, Protocol):
    """The curvature of a `absa.curvature.problem.Problem`, at its current parameters.

    A context manager: entering may build a graph that all products use, leaving frees it. Inside,
    the model must not change; afterwards model, gradients, random state and modes are as before.
    """

    @property
    def num_samples(self) -> int:
        """Samples of the problem, over all ranks."""
        ...

    @property
    def gradient(self) -> Float[Tensor, " dim"]:
        """The gradient of the problem's loss, flat: a good first vector."""
        ...

    def __enter__(self) -> "CurvatureOperator": ...

    def __exit__(self, *_: object) -> None: ...
