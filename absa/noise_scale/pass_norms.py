"""The norm of what one backward pass adds to each gradient, seen on its way to ``.grad``."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from absa.errors import MeasurementError


class PassNorms:
    """Listens to parameters; needs no copy of a gradient and no difference of two.

    Args:
        parameters: At least one.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._hooks: list[RemovableHandle] = []
        self._fresh: list[Tensor | None] = [None] * len(parameters)
        self._added: list[Tensor | None] = [None] * len(parameters)

    @property
    def is_listening(self) -> bool:
        """Whether passes are seen."""
        return bool(self._hooks)

    def start(self) -> None:
        """Listen from now on; the first pass is the next one."""
        self.stop()
        for number, parameter in enumerate(self._parameters):
            self._hooks.append(parameter.register_hook(self._before(number)))
            self._hooks.append(parameter.register_post_accumulate_grad_hook(self._after(number)))

    def stop(self) -> None:
        """Take the hooks off the parameters and forget the pass."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._fresh = [None] * len(self._parameters)
        self._added = [None] * len(self._parameters)

    def take(self) -> Float[Tensor, " tensors"]:
        """Return the squared norms of the pass that went backward, and wait for the next."""
        added, self._added = self._added, [None] * len(self._parameters)
        return stacked(added, self._parameters[0].device).square()

    def _before(self, number: int) -> Callable[[Tensor], None]:
        """Return a hook that sees a gradient on its own, before it is added to ``.grad``."""

        def on_gradient(gradient: Tensor) -> None:
            self._fresh[number] = norm(gradient)

        return on_gradient

    def _after(self, number: int) -> Callable[[Tensor], None]:
        """Return a hook that tells that it was added: ``torch.autograd.grad`` does not add."""

        def on_added(_: Tensor) -> None:
            if self._added[number] is not None:
                raise MeasurementError(
                    "a parameter received its gradient twice in one pass: call add(num_samples) "
                    "after each backward pass, and use non-reentrant activation checkpointing"
                )
            self._added[number] = self._fresh[number]

        return on_added


def norm(gradient: Tensor) -> Float[Tensor, ""]:
    """Return the norm of a gradient, dense or sparse, of any floating dtype."""
    values = gradient.detach()
    if values.is_sparse:
        values = values.coalesce().values()
    # Squares of bfloat16 and float16 are added up in float32.
    dtype = torch.promote_types(values.dtype, torch.float32)
    found: Tensor = torch.linalg.vector_norm(values, dtype=dtype)
    return found


def stacked(norms: Sequence[Tensor | None], device: torch.device) -> Float[Tensor, " n"]:
    """Return numbers as one tensor in the widest dtype of a device; None as 0."""
    zero = torch.zeros((), device=device)
    here = [zero if n is None else n if n.device == device else n.to(device) for n in norms]
    return torch.stack(here).to(widest_dtype(device))


def widest_dtype(device: torch.device) -> torch.dtype:
    """Return float64, for differences of sums are wanted, or float32 on Apple's GPUs."""
    return torch.float32 if device.type == "mps" else torch.float64
