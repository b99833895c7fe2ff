"""The Hessian by forward-over-reverse: the derivative of the gradient along the vector."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor
from torch.func import grad, jvp

from absa.curvature.functional import LossSum, functional
from absa.curvature.mean import MeanOperator
from absa.curvature.passes import loss_sum, pass_weights
from absa.curvature.problem import Problem
from absa.curvature.trainable import trainable_parameters
from absa.task import Batch

Execution = Literal["eager", "compiled"]
"""How a product is computed: as it comes, or by `torch.compile`."""


class HessianForward(MeanOperator):
    """The same matrix as `Hessian`, by `torch.func`: H v = d/dt gradient(parameters + t v).

    No graph is kept between products, and code that cannot be differentiated twice backward may do.
    Eager it is the most expensive operator: a product takes the time of 4 to 4.6 gradients and 6
    times the memory (CPU, resnet20). It is there to be compiled, on GPUs. That takes seconds to
    minutes, once in a process for each model, losses and size of a pass.

    The losses must use no parameter past the modules that hold it (from a list, a closure): its
    share would be missed.

    Args:
        problem: What is measured.
        execution: compiled: products run as `torch.compile` makes them.

    Raises:
        MeasurementError: The model is wrapped, has no trainable parameter, or has some that cannot
            be in one vector of 32 or 64 bits.

    Source: Pearlmutter 1994, Neural Computation 6(1), section 3.
    """

    def __init__(self, problem: Problem, execution: Execution = "eager") -> None:
        _load_forward_derivatives()
        product = _product if execution == "eager" else _compiled()
        loss = functional(problem.model, problem.losses)
        super().__init__(
            problem,
            partial(_Functional, loss, product),
            compiled="eager" if execution == "eager" else "as_is",
        )


_Tensors = tuple[Tensor, ...]
_Product = Callable[[LossSum, _Tensors, _Tensors, Batch, Tensor | None], _Tensors]


def _product(
    loss: LossSum, parameters: _Tensors, vector: _Tensors, batch: Batch, weights: Tensor | None
) -> _Tensors:
    gradient = grad(partial(loss, batch=batch, weights=weights))
    product: _Tensors = jvp(gradient, (parameters,), (vector,))[1]
    return product


@cache
def _compiled() -> _Product:
    """Return the compiled product; one function, so that no measurement compiles it again."""
    # With sizes left open a second size fails (torch 2.13).
    return torch.compile(_product, dynamic=False)


@cache
def _load_forward_derivatives() -> None:
    """Let torch do, seconds long, what it does at the first derivatives of this kind in a process.

    Importing torch._dynamo keeps the stack that it happened on, and so a graph, until the garbage
    collector comes; torch/_decomp/decompositions_for_jvp.py calls what torch 2.13 has deprecated.
    """
    with warnings.catch_warnings(), torch.inference_mode(mode=False):
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")
        jvp(grad(torch.sin), (torch.zeros(()),), (torch.ones(()),))


class _Functional:
    def __init__(self, loss: LossSum, product: _Product, problem: Problem, batch: Batch) -> None:
        self._loss, self._product, self._problem, self._batch = loss, product, problem, batch

    def gradient(self) -> Sequence[Tensor]:
        return torch.autograd.grad(
            loss_sum(self._problem, self._batch),
            trainable_parameters(self._problem.model),
            materialize_grads=True,
        )

    def product(self, vector: Sequence[Tensor]) -> Sequence[Tensor]:
        parameters = tuple(p.detach() for p in trainable_parameters(self._problem.model))
        weights = pass_weights(self._problem, self._batch)
        return self._product(self._loss, parameters, tuple(vector), self._batch, weights)
