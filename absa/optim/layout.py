"""Memory layouts: a kernel that walks memory in order needs tensors that lie in the same order."""

from jaxtyping import Shaped
from torch import Tensor, empty_like


def flat(tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, " numel"]:
    """Return a one-dimensional view over the elements in the order of memory, without a copy.

    Raises:
        RuntimeError: The elements are not evenly spaced, so there is no such view.
    """
    if tensor.is_contiguous():
        return tensor.view(-1)
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.permute(order).view(-1)


def is_dense(tensor: Shaped[Tensor, "..."]) -> bool:
    """Return whether the elements fill one stretch of memory, in any order of dimensions."""
    try:
        line = flat(tensor)
    except RuntimeError:
        return False
    return line.numel() <= 1 or line.stride() == (1,)


def in_layout_of(
    tensor: Shaped[Tensor, "*shape"], model: Shaped[Tensor, "*shape"]
) -> Shaped[Tensor, "*shape"]:
    """Return ``tensor`` itself if it lies in memory like ``model``, else a copy that does."""
    # The common case first: an optimizer asks this twice for every tensor in every step.
    if (tensor.is_contiguous() and model.is_contiguous()) or tensor.stride() == model.stride():
        return tensor
    return empty_like(model, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
