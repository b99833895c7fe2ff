"""Long sequences of matrices whose largest eigenvalue is known and often halves.

A short run has few falls to decide about. Here a matrix of the shape that was measured over the run
(its leading Ritz values, how far its first eigenvector turned from point to point) walks downwards
at random, several times over: made-up sequences, whose one virtue is that the truth is exact.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from absa.curvature.tracker import HessianTracker, measure_operator
from absa.signals import FallTest
from benchmarks.curvature.decisions import ASKED, FACTOR, Agreement, agreement, falls
from benchmarks.curvature.iterations import Setting, power, random_start, stopped

DIM = 4096
DRIFT = -math.log(2) / 10
"""Mean step of the logarithm of all eigenvalues: they halve in ten points. Chosen, as the
next two are, so that there are many falls, values just above them, and others that overtake."""

TOGETHER, EACH = 0.15, 0.1
"""Standard deviations of a step of the logarithms of all eigenvalues together, and of each."""


@dataclass(frozen=True)
class Shape:
    """What is taken over from a run.

    Args:
        spectrum: Leading eigenvalues, descending.
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
        log += DRIFT + random.normal() * TOGETHER + random.normal(size=rank) * EACH
        q, r = np.linalg.qr(vectors + turn * random.normal(size=vectors.shape))
        vectors = q * np.sign(np.diag(r))


def synthetic_agreement(
    shape: Shape, points: int, how: HessianTracker, powers: Mapping[str, Setting], seed: int
) -> dict[str, Agreement]:
    """Return how well each method decides along one walk, by name.

    Args:
        shape: Of the first matrix.
        points: How many.
        how: Our tracker; both as it is, and asked.
        powers: Cold power iterations: PyHessian's and the authors' rule.
        seed: Of the walk.
    """
    matrices = list(walk(shape, points, seed))
    decided = {
        "ours": falls(_values(how, matrices)),
        ASKED: _asked(how, matrices),
    }
    for name, setting in powers.items():
        decided[name] = falls([_power(m, setting, i) for i, m in enumerate(matrices)])
    truth = falls([float(matrix.values.max()) for matrix in matrices])
    return {name: agreement(each, truth) for name, each in decided.items()}


def _values(how: HessianTracker, matrices: Iterable[LowRank]) -> list[float]:
    state, values = None, []
    for matrix in matrices:
        state, found = measure_operator(how, matrix, state)
        values.append(found.value)
    return values


def _asked(how: HessianTracker, matrices: Sequence[LowRank]) -> list[bool]:
    state, found = measure_operator(how, matrices[0], None)
    reference, fell = found.value, [False]
    for matrix in matrices[1:]:
        state, found = measure_operator(how, matrix, state, FallTest(reference, FACTOR))
        fell.append(found.stopped == "fallen")
        reference = found.value if fell[-1] else reference
    return fell


def _power(operator: LowRank, setting: Setting, seed: int) -> float:
    return stopped(power(operator, random_start(operator, seed)), setting).value


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
    return Shape(tuple(values), statistics.median(cosines))
