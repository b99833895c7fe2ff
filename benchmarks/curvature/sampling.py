"""How far the eigenvalue of few samples is from that of many."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from absa.curvature.hessian import Hessian
from absa.curvature.problem import Problem
from absa.task import Task
from benchmarks.curvature.cases import Sampling
from benchmarks.curvature.frontier import Truth
from benchmarks.curvature.iterations import converged, random_start
from benchmarks.curvature.samples import gradient, problem
from benchmarks.measure import wall_s

_MIXED_IN = 0.3
"""Length of the random vector beside the unit vector that a value is begun with: if that were an
eigenvector of another eigenvalue, its residual would say that nothing is missing."""


@dataclass(frozen=True)
class Sampled:
    """What the samples of one size say at the points.

    Args:
        size: How many samples.
        values: One row per choice of samples, one column per point.
        gradient_s: Median time of a gradient of so many.
    """

    size: int
    values: tuple[tuple[float, ...], ...]
    gradient_s: float


@dataclass(frozen=True)
class SamplingErrors:
    """What few samples get wrong.

    Args:
        few: By size, the smallest first.
        many: The reference: one row.
    """

    few: tuple[Sampled, ...]
    many: Sampled

    def of_value(self, sampled: Sampled) -> list[float]:
        """Return value / reference - 1 of each choice at each point."""
        (truth,) = self.many.values
        return [v / t - 1 for row in sampled.values for v, t in zip(row, truth, strict=True)]

    def of_change(self, sampled: Sampled) -> list[float]:
        """Return the same of the change from the first point: a steady bias cancels in it."""
        (truth,) = self.many.values
        return [
            (value / row[0]) / (exact / truth[0]) - 1
            for row in sampled.values
            for value, exact in zip(row[1:], truth[1:], strict=True)
        ]


def spread_out(num_all: int, num: int) -> list[int]:
    """Return evenly spaced positions, the first and the last among them if there are two."""
    return sorted({int(i) for i in np.linspace(num_all - 1, 0, num).round()})


def sampling_errors(
    points: Sequence[Mapping[str, Tensor]],
    exact: Sequence[Truth],
    task: Task,
    model: nn.Module,
    how: Sampling,
) -> SamplingErrors:
    """Measure the eigenvalue of the same weights on few and on many samples.

    Args:
        points: States of the model.
        exact: At each, a value on some samples with its vector, to begin with.
        task: Model, data, loss.
        model: Loaded with each state.
        how: Sizes, choices, reference.
    """
    chosen = spread_out(len(points), how.points)
    given = [(points[i], exact[i].vector) for i in chosen]

    def sampled(size: int, draws: int, vectors: list[Tensor]) -> Sampled:
        rows, seconds = [], []
        for draw in range(draws):
            of = problem(task, model, size, draw)
            row, seconds_of = _row(of, [point for point, _ in given], vectors, how.tolerance)
            rows.append(row)
            seconds += seconds_of
        return Sampled(size, tuple(rows), statistics.median(seconds))

    few = []
    vectors = [vector for _, vector in given]
    for size in how.sizes:
        # The vectors come to be those of the largest size: the reference needs few products then.
        few.append(sampled(size, how.draws if size < max(how.sizes) else 1, vectors))
    return SamplingErrors(tuple(few), sampled(how.reference, 1, vectors))


def _row(
    of: Problem,
    points: Sequence[Mapping[str, Tensor]],
    vectors: list[Tensor],
    tolerance: float,
) -> tuple[tuple[float, ...], list[float]]:
    """Return values at the points and times of gradients; replace the vectors."""
    values, seconds = [], []
    for i, point in enumerate(points):
        of.model.load_state_dict(point)
        seconds.append(wall_s(lambda: gradient(of)))
        with Hessian(of) as operator:
            other = random_start(operator, i)
            start = vectors[i] / vectors[i].norm() + _MIXED_IN * other / other.norm()
            estimate, vectors[i] = converged(operator, start, tolerance)
        values.append(estimate.value)
    return tuple(values), seconds
