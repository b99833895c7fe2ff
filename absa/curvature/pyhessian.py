"""PyHessian behind our seam: its graph and its power iteration, none of its side effects."""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from absa.collective import Collective
from absa.curvature.functional import functional
from absa.curvature.passes import checked_size, pass_weights, size_of
from absa.curvature.problem import Problem
from absa.curvature.second_derivative import ensure_differentiable, named_refusals
from absa.curvature.trainable import trainable_parameters
from absa.curvature.undisturbed import undisturbed
from absa.curvature.vectors import flatten, unflatten
from absa.errors import ConfigError, MeasurementError
from absa.signals import Curvature, Stopped

State = TypeVar("State")


@dataclass(frozen=True)
class PyHessianTracker:
    """Eigenvalues by PyHessian 0.1: a cold power iteration, the same on all ranks.

    For comparison with our own tracker. It finds the eigenvalues of largest *magnitude*, a negative
    one too, starts from random vectors each time, and stops when two estimates in a row are alike,
    which says nothing of their error: so the residuals are NaN and there is no upper end. The lower
    end is the value itself, if positive: no quotient v'Hv / v'v exceeds the largest eigenvalue. The
    graph of all passes is in memory at once.

    Args:
        top: How many eigenvalues, at least 1.
        max_products: At most so many Hessian-vector products in all, at least ``top``.
        tolerance: Relative change between two estimates at which one is taken, > 0.

    Raises:
        ConfigError: An argument is out of range.

    Source: Yao et al. 2020, arXiv:1912.07145, algorithm 2.
    """

    top: int = 1
    max_products: int = 100
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        if not (1 <= self.top <= self.max_products and self.tolerance > 0):
            raise ConfigError(
                f"PyHessian is to find {self.top} eigenvalues in {self.max_products} products to a "
                f"tolerance of {self.tolerance}; it needs at least one eigenvalue, a product for "
                "each, and a positive tolerance"
            )

    @property
    def max_iterations(self) -> int:
        """Most products for one eigenvalue."""
        return self.max_products // self.top

    def measure(
        self, problem: Problem, state: State, question: object = None
    ) -> tuple[State, Curvature]:
        """Measure; every rank of the problem at the same time.

        Args:
            problem: What is measured; left as it is.
            state: Returned as it is: PyHessian begins anew each time.
            question: Not asked: PyHessian cannot stop early.

        Raises:
            MeasurementError: PyHessian is not installed, the problem has no weight, or an operation
                of the model has no second derivative in torch.
        """
        started_s = time.perf_counter()
        library = _library()
        with undisturbed(problem.model), named_refusals():
            weight, num_samples = _size(problem)
            whole = _Whole(problem, weight)
            with _quiet(whole):
                values = _eigenvalues(self, library, whole)
        # Ranks whose clocks differ return the same all the same.
        seconds = problem.collective.broadcast_value(time.perf_counter() - started_s, source=0)
        return state, _result(self, values, whole, num_samples, seconds)


def _library() -> Any:
    try:
        return import_module("pyhessian")
    except ModuleNotFoundError as error:
        raise MeasurementError(
            "PyHessian is not installed: pip install pyhessian, or choose another backend"
        ) from error


def _size(problem: Problem) -> tuple[float, int]:
    """Return the weight and the number of all samples of all ranks."""
    sums = trainable_parameters(problem.model)[0].new_zeros(2, requires_grad=False)
    for batch in problem.passes:
        sums += size_of(problem, batch, like=sums)
    problem.collective.start_sum(sums).wait()
    return checked_size(sums)


class _Whole(nn.Module):
    """The mean loss as a module of one flat parameter: what PyHessian takes for a model.

    PyHessian writes ``.grad`` of its model's parameters, so those are not the user's. It knows
    nothing of ranks: the gradient is summed on its way.
    """

    def __init__(self, problem: Problem, weight: float) -> None:
        super().__init__()
        parameters = trainable_parameters(problem.model)
        self._shapes = [parameter.shape for parameter in parameters]
        self.flat = nn.Parameter(flatten(parameters))
        self._problem = problem
        self._loss = functional(problem.model, problem.losses)
        self._weight = weight
        self.num_products: list[int] = []  # for each vector
        self._drawn: Tensor | None = None

    def forward(self, _: Tensor) -> Float[Tensor, ""]:
        problem = self._problem
        flat: Tensor = _SumsGradient.apply(self.flat, problem.collective)  # type: ignore[no-untyped-call]
        parameters = unflatten(flat, self._shapes)
        # A loss that is linear in all parameters would have a gradient without a graph.
        total: Tensor = 0.0 * flat.dot(flat)
        for batch in problem.passes:
            total += self._loss(parameters, batch, pass_weights(problem, batch))
        return total / self._weight

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Count a product: PyHessian calls this before each, and draws only to begin a vector."""
        super().zero_grad(set_to_none)
        drawn = torch.default_generator.get_state()
        if self._drawn is None or not torch.equal(drawn, self._drawn):
            self.num_products.append(0)
        self._drawn = drawn
        self.num_products[-1] += 1


class _SumsGradient(torch.autograd.Function):
    """The identity; its gradient, and that one's derivative, are sums over ranks."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, collective: Collective) -> Tensor:
        ctx.collective = collective
        return flat.view_as(flat)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradient, ctx.collective), None  # type: ignore[no-untyped-call]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, collective: Collective) -> Tensor:
        total = part.clone(memory_format=torch.contiguous_format)
        collective.start_sum(total).wait()
        return total

    @staticmethod
    def backward(ctx: Any, vector: Tensor) -> tuple[Tensor, None]:
        # All ranks multiply the one sum with the same vector: its share of it is this rank's part.
        return vector, None


@contextmanager
def _quiet(whole: _Whole) -> Iterator[None]:
    """Say nothing of the cycle of gradient and graph that PyHessian makes, and break it."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
            yield
    finally:
        whole.flat.grad = None


def _eigenvalues(tracker: PyHessianTracker, library: Any, whole: _Whole) -> list[float]:
    """Return what PyHessian finds, in its order; nothing if the gradient is not finite."""
    device = whole.flat.device
    on_gpu = device.type == "cuda"
    empty = torch.zeros(0, device=device)
    # PyHessian's GPU is the current one.
    with torch.cuda.device(device) if on_gpu else nullcontext():
        found = library.hessian(whole, lambda loss, _: loss, data=(empty, empty), cuda=on_gpu)
        ensure_differentiable(found.gradsH)
        if not found.gradsH[0].isfinite().all():
            return []
        values, _ = found.eigenvalues(tracker.max_iterations, tracker.tolerance, tracker.top)
    return [float(value) for value in values]


def _result(
    tracker: PyHessianTracker, found: list[float], whole: _Whole, num_samples: int, seconds: float
) -> Curvature:
    values = tuple(sorted(found, reverse=True)) if all(map(math.isfinite, found)) else ()
    converged = all(number < tracker.max_iterations for number in whole.num_products)
    stopped: Stopped = "tolerance" if converged else "budget"
    lower = max(values, default=math.nan)
    return Curvature(
        values=values,
        residuals=(math.nan,) * len(values),
        lower=-math.inf if lower <= 0 else lower,
        upper=math.inf,
        failure_probability=0.0,
        stopped=stopped if values else "not_finite",
        num_products=sum(whole.num_products),
        num_samples=num_samples,
        seconds=seconds,
    )
