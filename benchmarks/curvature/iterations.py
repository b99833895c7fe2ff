"""Cold starts, one product at a time, and when they would have stopped."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse.linalg  # type: ignore[import-untyped]
import torch
from torch import Tensor

from absa.curvature.band_lanczos import begin, dot, extend, ritz, ritz_vectors
from absa.curvature.operator import Operator
from absa.curvature.stopping import estimated_errors


@dataclass(frozen=True)
class Estimate:
    """A value, and the Hessian-vector products that it took."""

    value: float
    num_products: int


@dataclass(frozen=True)
class Setting:
    """When a power iteration stops.

    Args:
        max_products: At the latest.
        tolerance: When two estimates in a row differ by less, relatively; 0: never.
    """

    max_products: int
    tolerance: float


def random_start(operator: Operator, seed: int) -> Tensor:
    """Return normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(operator.dim, dtype=operator.dtype, generator=generator)


def power(operator: Operator, start: Tensor) -> Iterator[float]:
    """Yield the Rayleigh quotient after each product of a power iteration, without end."""
    vector = start / dot(start, start) ** 0.5
    while True:
        product = operator.product(vector)
        yield dot(vector, product)
        vector = product / dot(product, product) ** 0.5


def lanczos(operator: Operator, start: Tensor) -> Iterator[float]:
    """Yield the largest Ritz value after each product, until the space is exhausted."""
    krylov = begin([start])
    while krylov.pending:
        krylov = extend(operator, krylov)
        yield float(ritz(krylov.projection).values[0])


def stopped(quotients: Iterable[float], setting: Setting) -> Estimate:
    """Return what a power iteration gives: the rule of the authors and of PyHessian.

    When two estimates in a row are alike, it is the one before the last.

    Args:
        quotients: At least ``setting.max_products``; no more are taken than are needed.
        setting: When it stops.
    """
    made = itertools.islice(quotients, setting.max_products)
    before, number = next(made), 1
    for now in made:
        number += 1
        if abs(before - now) / (abs(before) + 1e-6) < setting.tolerance:
            break
        before = now
    return Estimate(before, number)


def converged(operator: Operator, start: Tensor, tolerance: float) -> tuple[Estimate, Tensor]:
    """Continue Lanczos from a vector that is nearly right; return the value and the Ritz vector.

    Args:
        operator: A.
        start: Mixed with a little of something random if it may be exactly wrong.
        tolerance: Relative error, as residual and gap say.
    """
    krylov = begin([start])
    while krylov.pending:
        krylov = extend(operator, krylov)
        pairs = ritz(krylov.projection)
        if estimated_errors(pairs, 1)[0] <= tolerance * abs(pairs.values[0]):
            break
    return Estimate(float(pairs.values[0]), len(krylov.basis)), ritz_vectors(krylov, 1)[0]


def leading(operator: Operator, start: Tensor, num: int) -> list[float]:
    """Return all Ritz values of a cold start of ``num`` products, descending."""
    krylov = begin([start])
    for _ in range(num):
        krylov = extend(operator, krylov)
    return [float(value) for value in ritz(krylov.projection).values]


@dataclass(frozen=True)
class Arpack:
    """Settings of `scipy.sparse.linalg.eigsh`.

    Args:
        tolerance: 0: machine precision, its default.
        num_vectors: ``ncv``; None: its default, 20.
    """

    tolerance: float = 0.0
    num_vectors: int | None = None


def eigsh(operator: Operator, start: Tensor, setting: Arpack) -> tuple[Estimate, Tensor]:
    """Return the largest eigenvalue and its vector by implicitly restarted Lanczos (ARPACK)."""
    num_products = 0

    def product(vector: np.ndarray) -> np.ndarray:
        nonlocal num_products
        num_products += 1
        flat = torch.from_numpy(np.ascontiguousarray(vector).reshape(-1)).to(operator.dtype)
        return operator.product(flat).numpy()

    shape = (operator.dim, operator.dim)
    matrix = scipy.sparse.linalg.LinearOperator(shape, matvec=product, dtype=np.float32)
    values, vectors = scipy.sparse.linalg.eigsh(
        matrix,
        k=1,
        which="LA",
        v0=start.numpy(),
        tol=setting.tolerance,
        ncv=setting.num_vectors,
    )
    return Estimate(float(values[0]), num_products), torch.from_numpy(vectors[:, 0].copy())
