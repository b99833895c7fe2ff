"""The Hessian by forward-over-reverse: the derivative of the gradient along the vector."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp

from absa.curvature.functional import LossSum, Named
from absa.curvature.mean import MeanOperator, loss_sum, pass_weights, trainable_parameters
from absa.curvature.problem import Problem
from absa.curvature.undisturbed import Compiled
from absa.task import Batch

Execution = Literal["eager", "compiled"]
"""How a product is computed: as it comes, or by `torch.compile`."""


class HessianForward(MeanOperator):
    """The same matrix as `Hessian`, by `torch.func`: H v = d/dt gradient(parameters + t v).

    No graph is kept, so a product takes the memory of about two gradients, and code that cannot be
    differentiated twice backward may do. Compiled it is the fastest on GPUs; compiling takes
    seconds to minutes, once for each size of a pass, model and losses in a process.

    The losses must be functions in the sense of `torch.func`: no buffer that a forward pass writes
    to may depend on parameters, and no parameter may be used past the modules that hold it (from a
    list or a closure): its share would be missed.

    Args:
        problem: What is measured.
        execution: compiled: products run as `torch.compile` makes them.

    Raises:
        MeasurementError: The model is wrapped, has no trainable parameter, or has some that cannot
            be in one vector of 32 or 64 bits.

    Source: Pearlmutter 1994, Neural Computation 6(1), section 3.
    """

    def __init__(self, problem: Problem, execution: Execution = "eager") -> None:
        function = _product if execution == "eager" else _compiled()
        compiled: Compiled = "eager" if execution == "eager" else "as_is"
        linearise = partial(_Functional, LossSum(problem), function)
        super().__init__(problem, linearise, compiled)


_Product = Callable[[nn.Module, Named, Named, Batch, Tensor | None], Named]


def _product(
    loss: nn.Module, parameters: Named, vector: Named, batch: Batch, weights: Tensor | None
) -> Named:
    def of_parameters(parameters: Named) -> Any:
        return functional_call(loss, parameters, (batch, weights))

    product: Named = jvp(grad(of_parameters), (parameters,), (vector,))[1]
    return product


@cache
def _compiled() -> _Product:
    """Return the compiled product; one function, so that no measurement compiles it again."""
    return torch.compile(_product)


class _Functional:
    def __init__(self, loss: LossSum, product: _Product, problem: Problem, batch: Batch) -> None:
        self._loss, self._product, self._problem, self._batch = loss, product, problem, batch
        named = loss.named_parameters()
        self._parameters = {name: p.detach() for name, p in named if p.requires_grad}

    def gradient(self) -> Sequence[Tensor]:
        return torch.autograd.grad(
            loss_sum(self._problem, self._batch),
            trainable_parameters(self._problem.model),
            materialize_grads=True,
        )

    def product(self, vector: Sequence[Tensor]) -> Sequence[Tensor]:
        named = dict(zip(self._parameters, vector, strict=True))
        weights = pass_weights(self._problem, self._batch)
        product = self._product(self._loss, self._parameters, named, self._batch, weights)
        return list(product.values())
