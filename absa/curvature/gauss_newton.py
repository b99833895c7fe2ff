"""The generalised Gauss-Newton matrix: the loss's curvature, without that of the network."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from absa.curvature.mean import MeanOperator
from absa.curvature.passes import loss_sum
from absa.curvature.problem import Problem
from absa.curvature.second_derivative import ensure_differentiable
from absa.curvature.trainable import trainable_parameters
from absa.errors import MeasurementError
from absa.task import Batch


class GaussNewton(MeanOperator):
    """J' H J: J the derivative of the model's output, H the Hessian of the mean loss by the output.

    It is the Hessian of the loss of the linearised model, positive semi-definite where the losses
    are convex in the output, and the Fisher matrix for cross-entropy and squared error. It is not
    what the batch policies of the literature measure: near a minimum its largest eigenvalue is that
    of the Hessian, early in training the two differ.

    A product is J v as the derivative of J' u by u, then J' H (J v). With one pass the graphs are
    kept, as in `Hessian`. It takes the time of 1.9 gradients and 2.8 times the memory (CPU,
    resnet20).

    Args:
        problem: Its losses call the model once and use its output, one tensor, and no parameter.

    Raises:
        MeasurementError: The model is wrapped, has no trainable parameter, or has some that cannot
            be in one vector of 32 or 64 bits.

    Source: Schraudolph 2002, Neural Computation 14(7), section 3.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, _Split)


class _Split:
    """One pass, cut at the model's output.

    Raises:
        MeasurementError: The losses are not a function of one output of the model alone.
    """

    def __init__(self, problem: Problem, batch: Batch) -> None:
        self._parameters = trainable_parameters(problem.model)
        self._output, self._input, loss = _cut(problem, batch)
        slope, *rest = torch.autograd.grad(
            loss, [self._input, *self._parameters], create_graph=True, allow_unused=True
        )
        if slope is None or any(gradient is not None for gradient in rest):
            raise _refusal("the losses depend on parameters past its output")
        self._slope = slope

    def gradient(self) -> Sequence[Tensor]:
        return self._pull(self._slope.detach())

    def product(self, vector: Sequence[Tensor]) -> Sequence[Tensor]:
        if not self._slope.requires_grad:  # the losses are linear in the output
            return [torch.zeros_like(parameter) for parameter in self._parameters]
        cotangent, pulled = self._pulled
        pairs = [(g, v) for g, v in zip(pulled, vector, strict=True) if g.requires_grad]
        outputs, factors = zip(*pairs, strict=True)
        (pushed,) = torch.autograd.grad(outputs, cotangent, factors, retain_graph=True)
        (curved,) = torch.autograd.grad(self._slope, self._input, pushed, retain_graph=True)
        return self._pull(curved)

    def _pull(self, cotangent: Tensor) -> Sequence[Tensor]:
        return torch.autograd.grad(
            self._output, self._parameters, cotangent, retain_graph=True, materialize_grads=True
        )

    @cached_property
    def _pulled(self) -> tuple[Tensor, Sequence[Tensor]]:
        """Return u and J' u with its graph: linear in u, so which u does not matter."""
        cotangent = torch.zeros_like(self._output).requires_grad_()
        pulled = torch.autograd.grad(
            self._output, self._parameters, cotangent, create_graph=True, materialize_grads=True
        )
        ensure_differentiable(pulled)
        return cotangent, pulled


def _cut(problem: Problem, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the model's output with its graph, a leaf in its place, and the loss from there on."""
    outputs: list[Any] = []
    leaves: list[Tensor] = []

    def replace(_: nn.Module, __: Any, output: Any) -> Any:
        outputs.append(output)
        if not isinstance(output, Tensor) or not output.requires_grad:
            return output
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # losses may write to what they get, but not to a leaf

    handle = problem.model.register_forward_hook(replace)
    try:
        loss = loss_sum(problem, batch)
    finally:
        handle.remove()
    if len(outputs) != 1:
        raise _refusal(f"the losses called it {len(outputs)} times")
    if not leaves:
        raise _refusal(f"it returned a {type(outputs[0]).__name__} that no gradient flows through")
    return outputs[0], leaves[0], loss


def _refusal(reason: str) -> MeasurementError:
    return MeasurementError(
        f"the Gauss-Newton matrix is not defined for this model: {reason}. The losses must call "
        "problem.model(...) once and be a function of its output, one tensor, alone; use Hessian, "
        "which takes any losses"
    )
