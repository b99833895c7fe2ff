"""A long sequence of matrices whose largest eigenvalue is known and often halves.

A short run has few falls to decide about. Here a matrix of the shape that was measured over the run
(its leading Ritz values, how far its first eigenvector turned from point to point) changes for
hundreds of points: a made-up sequence, whose one virtue is that the truth is exact.
"""

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from absa.curvature.stopping import FallTest
from absa.curvature.tracker import HessianTracker, TrackerState, measure_operator
from absa.signals import Curvature
from benchmarks.curvature.decisions import FACTOR, Agreement, agreement, falls
from benchmarks.curvature.iterations import Setting, power, random_start, stopped

DIM = 4096
TOGETHER, EACH = 0.15, 0.1
"""Steps of the logarithms of all eigenvalues together, and of each: chosen, so that the largest
halves about once in 20 points and others overtake it."""


@dataclass(frozen=True)
class Shape:
    """What is taken over from a run.

    Args:
        spectrum: Leading eigenvalues relative to the first.
        overlap: |cosine| of one eigenvector with the next point's, in (0, 1].
    """

    spectrum: tuple[float, ...]
    overlap: float


@dataclass(frozen=True)
class LowRank:
    """Sum of values[i] times the projection on row i of vectors: a `CurvatureOperator`."""

    values: Tensor
    vectors: Tensor
    num_samples: int = 0

    dtype: ClassVar = torch.float32
    device: ClassVar = torch.device("cpu")

    @property
    def dim(self) -> int:
        """The number of rows."""
        return self.vectors.shape[1]

    @property
    def gradient(self) -> Tensor:
        """Nothing's gradient: a vector that holds a little of each eigenvector."""
        return self.vectors.sum(0)

    def product(self, vector: Tensor) -> Tensor:
        """Return the matrix times ``vector``."""
        return (self.values * (self.vectors @ vector)) @ self.vectors

    def __enter__(self) -> "LowRank":
        return self

    def __exit__(self, *_: object) -> None: ...


def walk(shape: Shape, points: int, seed: int) -> Iterator[LowRank]:
    """Yield the matrices: eigenvalues walk at random, eigenvectors turn at random.

    Args:
        shape: Of the first.
        points: How many.
        seed: Of the walk.
    """
    random = np.random.default_rng(seed)
    rank = len(shape.spectrum)
    first = np.array(shape.spectrum)
    log = np.zeros(rank)
    vectors = np.linalg.qr(random.normal(size=(DIM, rank)))[0]
    turn = math.sqrt(max(1 / shape.overlap**2 - 1, 0) / DIM)
    for _ in range(points):
        yield LowRank(
            torch.from_numpy((first * np.exp(log)).astype(np.float32)),
            torch.from_numpy(np.ascontiguousarray(vectors.T.astype(np.float32))),
        )
        log += random.normal() * TOGETHER + random.normal(size=rank) * EACH
        q, r = np.linalg.qr(vectors + turn * random.normal(size=vectors.shape))
        vectors = q * np.sign(np.diag(r))


def synthetic_agreement(
    shape: Shape, points: int, how: HessianTracker, powers: dict[str, Setting], seed: int = 0
) -> dict[str, Agreement]:
    """Return how well each method decides over the whole sequence, by name.

    Args:
        shape: Of the matrices.
        points: How many.
        how: Our tracker; both as it is, and asked.
        powers: Cold power iterations: PyHessian's and the authors' rule.
        seed: Of the walk.
    """
    truth: list[float] = []
    values: dict[str, list[float]] = {"ours": [], **{name: [] for name in powers}}
    asked, state, asked_state = [], None, None
    reference = math.nan
    for number, operator in enumerate(walk(shape, points, seed)):
        truth.append(float(operator.values.max()))
        state, found = measure_operator(how, operator, state)
        values["ours"].append(found.value)
        for name, setting in powers.items():
            values[name].append(_power(operator, setting, number))
        if number == 0:
            asked_state, asked, reference = state, [False], found.value
            continue
        asked_state, found = _ask(how, operator, asked_state, reference)
        asked.append(found.stopped == "fallen")
        reference = found.value if asked[-1] else reference
    exact = falls(truth)
    decided = {name: falls(each) for name, each in values.items()} | {"ours, asked": asked}
    return {name: agreement(each, exact) for name, each in decided.items()}


def _ask(
    how: HessianTracker, operator: LowRank, state: TrackerState | None, reference: float
) -> tuple[TrackerState, Curvature]:
    asking = HessianTracker(
        operator=how.operator,
        tolerance=None,
        max_products=how.max_products,
        failure_probability=how.failure_probability,
    )
    return measure_operator(asking, operator, state, FallTest(reference, FACTOR))


def _power(operator: LowRank, setting: Setting, seed: int) -> float:
    quotients = power(operator, random_start(operator, seed))
    made = [next(quotients) for _ in range(setting.max_products)]
    return stopped(made, setting).value


def shape_of(values: Sequence[float], vectors: Sequence[Tensor]) -> Shape:
    """Return the shape of a run.

    Args:
        values: Ritz values at one of its points, descending.
        vectors: The first eigenvector at each point, in their order, at least two.
    """
    cosines = [
        abs(float(torch.nn.functional.cosine_similarity(before, after, dim=0)))
        for before, after in itertools.pairwise(vectors)
    ]
    return Shape(tuple(value / values[0] for value in values), statistics.median(cosines))
