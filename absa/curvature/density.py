"""How the eigenvalues of an operator are distributed, from products alone."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from absa.collective import ALONE, Collective
from absa.curvature.agreement import first_rank
from absa.curvature.band_lanczos import Agree, begin, extend
from absa.curvature.operator import Operator
from absa.curvature.projection import ritz
from absa.curvature.random_vectors import normal
from absa.errors import MeasurementError


@dataclass(frozen=True)
class SpectralDensity:
    """A distribution of eigenvalues, as a quadrature rule from each of some random starts.

    Args:
        nodes: Ritz values of each start, ascending. A start whose basis was complete earlier than
            the others' repeats its last node with no weight.
        weights: Of the nodes; those of one start sum to 1.
        dim: How many eigenvalues there are.
        num_products: How many the measurement took.
    """

    nodes: Float64[np.ndarray, "starts steps"]
    weights: Float64[np.ndarray, "starts steps"]
    dim: int
    num_products: int

    @property
    def bandwidth(self) -> float:
        """The width of the Gaussians that the rule still integrates to 1 % of their height.

        A rule of m nodes is exact for polynomials up to degree K = 2 m - 1, so its error is at most
        twice that of the best approximation by such a polynomial. On a spectrum of half-width a,
        the Chebyshev coefficients of a Gaussian of width s a sum up to erfc(K s / sqrt(2)) beyond
        K (from its expansion in Bessel functions; the centre is the worst place).

        Source: Lin, Saad, Yang 2016, "Approximating spectral densities of large matrices", SIAM
        Review 58(1), for the relation of width and degree; Trefethen 2013, "Approximation theory
        and approximation practice", chapter 3, for the coefficients.
        """
        half_width = float(self.nodes.max() - self.nodes.min()) / 2
        degree = 2 * self.nodes.shape[1] - 1
        # 2 erfc(x / sqrt(2)) = 4 (1 - Phi(x)) = 0.01
        return float(half_width / degree * NormalDist().inv_cdf(1 - 0.01 / 4))

    def curve(self) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
        """Return a grid of eigenvalues and the density on it, smoothed by ``bandwidth``.

        The grid reaches five widths beyond the outermost nodes, in steps of a quarter: the density
        integrates to 1 within 1e-6.

        Raises:
            MeasurementError: All eigenvalues are the same: there is no density.
        """
        width = self.bandwidth
        first, last = float(self.nodes.min()), float(self.nodes.max())
        if not width > 0:
            raise MeasurementError(f"all eigenvalues are {first}: there is no density to draw")
        num_points = math.ceil((last - first + 10 * width) / (width / 4)) + 1
        grid = np.linspace(first - 5 * width, last + 5 * width, num_points)
        density = np.zeros(num_points)
        for node, weight in zip(self.nodes.ravel(), self.weights.ravel(), strict=True):
            density += weight * np.exp(-(((grid - node) / width) ** 2) / 2)
        return grid, density / (len(self.nodes) * width * math.sqrt(2 * math.pi))

    def num_above(self, level: float) -> tuple[float, float]:
        """Return about how many eigenvalues are above a level, and the standard error of that.

        A rule's own error is at most the weight of the node next to the level (Chebyshev, Markov
        and Stieltjes). The standard error is that of the starts; nan if there is only one.
        """
        counts = self.dim * np.where(self.nodes > level, self.weights, 0.0).sum(axis=1)
        num = len(counts)
        spread = float(counts.std(ddof=1)) / math.sqrt(num) if num > 1 else math.nan
        return float(counts.mean()), spread


def spectral_density(
    operator: Operator,
    num_starts: int = 4,
    num_steps: int = 80,
    *,
    seed: int = 0,
    collective: Collective = ALONE,
) -> SpectralDensity:
    """Measure the distribution of the eigenvalues by stochastic Lanczos quadrature.

    The Ritz values from a random unit vector, weighed by the squared first components of their
    vectors, are the Gauss rule of the distribution that the vector sees; its mean over vectors is
    that of the eigenvalues. The basis is kept orthogonal in full: without that eigenvalues that
    have been found come up again and again. ``num_steps`` + 2 vectors live at a time.

    Args:
        operator: A.
        num_starts: Random vectors, at least 1; the spread falls with the square root.
        num_steps: Products for each, at least 2; ``bandwidth`` falls in proportion.
        seed: Of the random vectors, in [0, 2^64).
        collective: The ranks; rank 0's numbers are returned.

    Raises:
        MeasurementError: There are too few starts or steps, or a product is not finite.

    Source: Golub and Meurant 1994, "Matrices, moments and quadrature"; Lin, Saad, Yang 2016,
    section 3.2; Ghorbani, Krishnan, Xiao 2019, arXiv:1901.10159, for Hessians.
    """
    if num_starts < 1 or num_steps < 2:
        raise MeasurementError(
            f"a density from {num_starts} starts of {num_steps} steps: it needs at least 1 and 2"
        )
    agree = first_rank(collective, operator.device)
    starts = (normal(operator, seed, number) for number in range(num_starts))
    rules = [_rule(operator, start, num_steps, agree) for start in starts]
    steps = max(len(nodes) for nodes, _ in rules)
    return SpectralDensity(
        nodes=np.stack([np.pad(nodes, (0, steps - len(nodes)), "edge") for nodes, _ in rules]),
        weights=np.stack([np.pad(weights, (0, steps - len(weights))) for _, weights in rules]),
        dim=operator.dim,
        num_products=sum(len(nodes) for nodes, _ in rules),
    )


def _rule(
    operator: Operator, start: Float[Tensor, " dim"], num_steps: int, agree: Agree
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    krylov = begin([start], agree)
    while krylov.pending and len(krylov.basis) < num_steps:
        krylov = extend(operator, krylov, agree=agree)
        if not krylov.projection.finite:
            raise MeasurementError("the density was not measured: a product is not finite")
    pairs = ritz(krylov.projection)
    return pairs.values[::-1].copy(), pairs.coordinates[0, ::-1] ** 2
