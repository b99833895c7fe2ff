"""One measurement by each of the libraries, with what it remembers from the one before."""

import itertools
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from absa.curvature.config import CurvatureConfig
from absa.curvature.hessian import Hessian
from absa.curvature.problem import Problem
from absa.curvature.tracker import HessianTracker
from absa.signals import Curvature, FallTest
from benchmarks.curvature.decisions import FACTOR
from benchmarks.curvature.iterations import (
    Arpack,
    Estimate,
    Setting,
    eigsh,
    power,
    random_start,
    stopped,
)
from benchmarks.curvature.samples import gradient
from benchmarks.measure import wall_s

try:
    with warnings.catch_warnings():
        # linear_operator, which curvlinops imports, still uses torch.jit.script.
        warnings.simplefilter("ignore", DeprecationWarning)
        import curvlinops  # type: ignore[import-untyped]
    import pyhessian  # type: ignore[import-untyped]
except ImportError:
    PEERS = False
else:
    PEERS = True

AUTHORS = Setting(10, 1e-2)
"""Of amirgholami/HessianFlow at 644fc8a: power iteration, cold, at most 10 steps."""

PYHESSIAN = Setting(100, 1e-3)
"""The defaults of ``pyhessian.hessian.eigenvalues``."""

ARPACK = Arpack(1e-3)
"""That tolerance for ``eigsh`` too; its default, machine precision, takes twice the products."""


@dataclass(frozen=True)
class Answer:
    """What a method says at one point.

    Args:
        estimate: The largest eigenvalue and the products made for it.
        fell: Whether it has halved, by a method that answers that itself.
    """

    estimate: Estimate
    fell: bool | None = None


Method = Callable[[Problem], Answer]
"""Measures; called once per point, in the order of the points."""


@dataclass(frozen=True)
class Measurement:
    """An answer and its price.

    Args:
        answer: What was said.
        seconds: All of it, the graph too.
        gradient_s: One gradient of the same samples, measured before and after.
    """

    answer: Answer
    seconds: float
    gradient_s: float

    @property
    def gradients(self) -> float:
        """Return the price in gradients."""
        return self.seconds / self.gradient_s


def tracker(max_products: int | None = None) -> HessianTracker:
    """Return the tracker that a job without any setting has, or one with another budget."""
    config = CurvatureConfig()
    return HessianTracker(
        operator=Hessian,
        top=config.top,
        tolerance=config.tolerance,
        max_products=max_products or config.max_products,
        failure_probability=config.failure_probability,
    )


def ours(how: HessianTracker) -> Method:
    """Return our tracker; each measurement begins with what the one before has found."""
    state = None

    def measure(problem: Problem) -> Answer:
        nonlocal state
        state, found = how.measure(problem, state)
        return Answer(Estimate(found.value, found.num_products))

    return measure


def asked(how: HessianTracker) -> Method:
    """Return our tracker when all it is asked is whether the eigenvalue has halved."""
    state, reference = None, None

    def measure(problem: Problem) -> Answer:
        nonlocal state, reference
        if reference is None:
            state, found = how.measure(problem, state)
            reference = found.value
            return _answered(found)
        question = FallTest(reference, FACTOR)
        state, found = how.measure(problem, state, question)
        answer = _answered(found)
        if answer.fell:
            reference = found.value
        return answer

    return measure


def _answered(found: Curvature) -> Answer:
    return Answer(Estimate(found.value, found.num_products), found.stopped == "fallen")


def cold_power(setting: Setting) -> Method:
    """Return a power iteration of our own products, from a new random start each time."""
    seeds = itertools.count()

    def measure(problem: Problem) -> Answer:
        with Hessian(problem) as operator:
            quotients = power(operator, random_start(operator, next(seeds)))
            return Answer(stopped(quotients, setting))

    return measure


def by_pyhessian(setting: Setting) -> Method:
    """Return PyHessian on one batch, with which it keeps the graph for all its products."""
    seeds = itertools.count()

    def measure(problem: Problem) -> Answer:
        (batch,) = problem.passes
        counted = _Counted(problem.model)
        torch.manual_seed(next(seeds))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
            library = pyhessian.hessian(
                counted, nn.CrossEntropyLoss(), (batch["image"], batch["label"]), cuda=False
            )
            values, _ = library.eigenvalues(setting.max_products, setting.tolerance)
        problem.model.zero_grad(set_to_none=True)  # it leaves a cycle of gradients and graph
        return Answer(Estimate(float(values[0]), counted.num_products))

    return measure


class _Counted(nn.Module):
    """A model that counts products: PyHessian calls ``zero_grad`` before each."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.num_products = model, 0

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.model(images)
        return outputs

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.num_products += 1
        super().zero_grad(set_to_none)


def by_curvlinops(setting: Arpack) -> Method:
    """Return curvlinops' Hessian with scipy's ``eigsh``, from a new random start each time.

    Its test of whether the data are deterministic, two more products, is switched off.
    """
    seeds = itertools.count()

    def measure(problem: Problem) -> Answer:
        operator = _Curvlinops(problem)
        return Answer(eigsh(operator, random_start(operator, next(seeds)), setting)[0])

    return measure


class _Curvlinops:
    """Its operator as ours; the copy of a vector on the way is nothing beside a product."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, problem: Problem) -> None:
        data = [(batch["image"], batch["label"]) for batch in problem.passes]
        parameters = list(problem.model.parameters())
        self._matrix = curvlinops.HessianLinearOperator(
            problem.model, nn.CrossEntropyLoss(), parameters, data, check_deterministic=False
        )
        self.dim = sum(parameter.numel() for parameter in parameters)

    def product(self, vector: Tensor) -> Tensor:
        result: Tensor = self._matrix @ vector
        return result.detach()


def follow(
    points: Sequence[Mapping[str, Tensor]], problem: Problem, methods: Mapping[str, Method]
) -> dict[str, list[Measurement]]:
    """Let all methods measure at all points, at each one after the other.

    Each point begins with another method, and gradients are timed around each measurement, so that
    what disturbs the machine disturbs both.

    Args:
        points: States of the model, in their order.
        problem: What is measured; its model is loaded with each state.
        methods: By name.

    Returns:
        The measurements by name; equal positions are of the same point.
    """
    found: dict[str, list[Measurement]] = {name: [] for name in methods}
    names = list(methods)
    for number, point in enumerate(points):
        problem.model.load_state_dict(point)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(measured(methods[name], problem))
    return found


def measured(method: Method, problem: Problem) -> Measurement:
    """Measure once, with gradients before and after."""
    answers: list[Answer] = []
    before = [wall_s(lambda: gradient(problem)) for _ in range(2)]
    seconds = wall_s(lambda: answers.append(method(problem)))
    after = wall_s(lambda: gradient(problem))
    return Measurement(answers[0], seconds, statistics.median([*before, after]))
