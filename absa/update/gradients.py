"""The gradients of a model as a list, one for each parameter, and their norms."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from absa.update.reducer import dense


def gradients_of(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return every parameter's gradient, zeros where there is none; ``.grad`` stays as it is.

    Raises:
        TaskError: One is sparse.
    """
    return [
        torch.zeros_like(parameter, requires_grad=False)
        if parameter.grad is None
        else dense(parameter.grad)
        for parameter in parameters
    ]


def completed(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Return every parameter's ``.grad``; one that the loss does not depend on becomes zero.

    Raises:
        TaskError: One is sparse.
    """
    gradients = gradients_of(parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.grad is None:
            parameter.grad = gradient
    return gradients


def tensor_norms(
    tensors: list[Float[Tensor, "..."]], dtype: torch.dtype
) -> Float[Tensor, " tensors"]:
    """Return the Euclidean norm of each tensor, without waiting for their device."""
    return torch.stack(torch._foreach_norm(tensors, 2, dtype=dtype))
