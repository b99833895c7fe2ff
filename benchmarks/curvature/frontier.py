"""Error against cost: budgets of our tracker, and the lengths of cold starts."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from absa.curvature.hessian import Hessian
from absa.curvature.operator import Operator
from absa.curvature.problem import Problem
from benchmarks.curvature.iterations import (
    Arpack,
    Estimate,
    Setting,
    eigsh,
    random_start,
    stopped,
)
from benchmarks.curvature.methods import Method, follow, ours, tracker
from benchmarks.curvature.samples import gradient
from benchmarks.measure import wall_s

TOLERANCE = 1e-4
"""Of the reference: smaller errors are not told apart."""

Iteration = Callable[[Operator, Tensor], Iterator[float]]


@dataclass(frozen=True)
class Series:
    """A cold start at one point.

    Args:
        values: The estimate after each product.
        gradients: What it had cost by then, the graph included.
    """

    values: tuple[float, ...]
    gradients: tuple[float, ...]


@dataclass(frozen=True)
class Truth:
    """The converged value at one point, and its vector."""

    value: float
    vector: Tensor
    num_products: int


def error(value: float, truth: float) -> float:
    """Return the relative error, at least that of the reference itself."""
    return max(abs(value / truth - 1), TOLERANCE)


def truths(points: Sequence[Mapping[str, Tensor]], problem: Problem) -> list[Truth]:
    """Return the converged largest eigenvalue at each point, by ARPACK from random starts."""
    found = []
    for number, point in enumerate(points):
        problem.model.load_state_dict(point)
        with Hessian(problem) as operator:
            start = random_start(operator, 1000 + number)
            estimate, vector = eigsh(operator, start, Arpack(TOLERANCE))
        found.append(Truth(estimate.value, vector, estimate.num_products))
    return found


def cold(
    points: Sequence[Mapping[str, Tensor]], problem: Problem, iteration: Iteration, num: int
) -> list[Series]:
    """Run a cold start of ``num`` products at each point."""
    found = []
    for number, point in enumerate(points):
        problem.model.load_state_dict(point)
        gradient_s = statistics.median(wall_s(lambda: gradient(problem)) for _ in range(3))
        found.append(_timed(problem, iteration, num, number, gradient_s))
    return found


def _timed(
    problem: Problem, iteration: Iteration, num: int, seed: int, gradient_s: float
) -> Series:
    began, values, gradients = time.perf_counter(), [], []
    with Hessian(problem) as operator:
        estimates = iteration(operator, random_start(operator, seed))
        for value in itertools.islice(estimates, num):
            values.append(value)
            gradients.append((time.perf_counter() - began) / gradient_s)
    return Series(tuple(values), tuple(gradients))


@dataclass(frozen=True)
class Spot:
    """One place on the frontier; medians over the points, and the largest error.

    Args:
        method: Whose.
        products: Hessian-vector products.
        error: Relative.
        largest: The largest error of all points.
        gradients: The price.
    """

    method: str
    products: float
    error: float
    largest: float
    gradients: float


def our_spots(
    points: Sequence[Mapping[str, Tensor]],
    problem: Problem,
    exact: Sequence[Truth],
    budgets: Sequence[int],
) -> list[Spot]:
    """Return our tracker's error and price with each budget, followed over all points."""
    methods: dict[str, Method] = {f"{n}": ours(tracker(n)) for n in budgets}
    # The first point is a cold start for all: it says nothing of following.
    found = follow(points, problem, methods) if budgets else {}
    return [
        _spot(
            f"ours, max_products {name}",
            [each.answer.estimate for each in series[1:]],
            [truth.value for truth in exact[1:]],
            [each.gradients for each in series[1:]],
        )
        for name, series in found.items()
    ]


def cold_spots(name: str, series: Sequence[Series], exact: Sequence[Truth]) -> list[Spot]:
    """Return error and price of cold starts after each number of products."""
    return [
        _spot(
            name,
            [Estimate(each.values[i], i + 1) for each in series[1:]],
            [truth.value for truth in exact[1:]],
            [each.gradients[i] for each in series[1:]],
        )
        for i in range(len(series[0].values))
    ]


def _spot(
    name: str, estimates: Sequence[Estimate], exact: Sequence[float], gradients: Sequence[float]
) -> Spot:
    errors = [error(e.value, truth) for e, truth in zip(estimates, exact, strict=True)]
    products = statistics.median(e.num_products for e in estimates)
    return Spot(
        name, products, statistics.median(errors), max(errors), statistics.median(gradients)
    )


_TOLERANCES = (0.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)


def cheapest_power(
    quotients: Sequence[Sequence[float]], exact: Sequence[float], wanted: float
) -> Setting | None:
    """Return the power iteration of fewest products whose median error is small enough.

    Args:
        quotients: Of a long power iteration at each point, all of one length.
        exact: The converged value at each point.
        wanted: The error, relative.

    Returns:
        None if not even the whole length gives that.
    """
    fitting = []
    for num, tolerance in itertools.product(range(1, len(quotients[0]) + 1), _TOLERANCES):
        setting = Setting(num, tolerance)
        given = [stopped(each, setting) for each in quotients]
        errors = [error(g.value, truth) for g, truth in zip(given, exact, strict=True)]
        if statistics.median(errors) <= wanted:
            fitting.append((statistics.mean(g.num_products for g in given), num, tolerance))
    return Setting(*min(fitting)[1:]) if fitting else None


_ARPACKS = tuple(Arpack(t, n) for n in (4, 6, 8, 12, 20) for t in (0.3, 0.03))


def cheapest_eigsh(
    points: Sequence[Mapping[str, Tensor]],
    problem: Problem,
    exact: Sequence[Truth],
    wanted: float,
) -> Arpack:
    """Return the settings of ``eigsh`` of fewest products whose error is small enough.

    Searched at one point in the middle, with our products: they are the same numbers.

    Returns:
        The most exact ones if none are exact enough.
    """
    middle = len(points) // 2
    problem.model.load_state_dict(points[middle])
    tried = []
    with Hessian(problem) as operator:
        for setting in _ARPACKS:
            found = eigsh(operator, random_start(operator, middle), setting)[0]
            tried.append((found.num_products, error(found.value, exact[middle].value), setting))
    fitting = [each for each in tried if each[1] <= wanted]
    return min(fitting or [min(tried, key=lambda t: t[1])], key=lambda t: t[0])[2]
