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

_TAIL = 0.01
"""Of the height of a Gaussian: what may be missing of it where it is smoothed with."""

_RESOLUTION = 1e-6
"""Of the largest eigenvalue: smaller differences are rounding in products in float32."""


@dataclass(frozen=True)
class GaussRule:
    """A quadrature rule for what one start vector sees of the distribution.

    With m nodes it gives the mean of every polynomial of degree 2 m - 1 or less.

    Args:
        nodes: Ritz values, ascending.
        weights: Of the nodes; their sum is 1.
        residuals: Norm of A y - node y for the unit Ritz vector y of each node.
    """

    nodes: Float64[np.ndarray, " m"]
    weights: Float64[np.ndarray, " m"]
    residuals: Float64[np.ndarray, " m"]


@dataclass(frozen=True)
class RitzValue:
    """An eigenvalue as it was found, and how far at most it is from the nearest one there is."""

    value: float
    residual: float


@dataclass(frozen=True)
class SpectralDensity:
    """A distribution of eigenvalues: the mean of what some random starts see of it.

    Args:
        rules: One for each start; those of a start whose basis was complete are short and exact.
        dim: How many eigenvalues there are.
        num_steps: Products that each start was allowed.
    """

    rules: tuple[GaussRule, ...]
    dim: int
    num_steps: int

    @property
    def num_products(self) -> int:
        """How many the measurement took."""
        return sum(len(rule.nodes) for rule in self.rules)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest node; there are eigenvalues as small and as large."""
        return _hull([(float(rule.nodes[0]), float(rule.nodes[-1])) for rule in self.rules])

    @property
    def bulk(self) -> tuple[float, float]:
        """The ends of what is left when eigenvalues that stand apart and are known are left out."""
        return _hull([_bulk(rule, self.num_steps)[0] for rule in self.rules])

    @property
    def bandwidth(self) -> float:
        """The width of the Gaussians that the rules still integrate to 1 % of their height.

        A rule of m nodes is exact for polynomials up to degree K = 2 m - 1, so its error is at most
        twice that of the best approximation by such a polynomial. On a spectrum of half-width a the
        Chebyshev coefficients of a Gaussian of width s a add up to erfc(K s / sqrt(2)) beyond
        degree K (from its expansion in Bessel functions, for narrow Gaussians; the middle of the
        spectrum is the worst place).

        Outliers need not make a coarse: a Krylov space that holds q eigenvectors does with its
        other m - q steps what Lanczos does to the rest of the spectrum. So eigenvalues at the ends
        that have converged are left out of a, and of m, where that gives the smallest width. A
        spectrum without any width gets a resolution instead.

        Source: Lin, Saad, Yang 2016, "Approximating spectral densities of large matrices", SIAM
        Review 58(1), for the relation of width and degree; Trefethen 2013, "Approximation theory
        and approximation practice", chapter 3, for the coefficients.
        """
        width = max(_bulk(rule, self.num_steps)[1] for rule in self.rules)
        return max(width, _RESOLUTION * max(map(abs, self.range))) or 1.0

    def curve(self) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
        """Return a grid of eigenvalues and the density on it, smoothed by `bandwidth`.

        The grid has steps of a quarter of the width as far as nine of them from each node, and gaps
        elsewhere, where the density is 0 but for 1e-17 of a peak. It integrates to 1 within 1e-6.
        """
        width = self.bandwidth
        step = width / 4
        nearest = np.concatenate([np.round(rule.nodes / step) for rule in self.rules])
        grid = np.unique(nearest[:, None] + np.arange(-36, 37)) * step
        density = np.zeros(len(grid))
        for rule in self.rules:
            for node, weight in zip(rule.nodes, rule.weights, strict=True):
                density += weight * np.exp(-(((grid - node) / width) ** 2) / 2)
        return grid, density / (len(self.rules) * width * math.sqrt(2 * math.pi))

    def share_below(self, level: float) -> tuple[float, float]:
        """Return the share of eigenvalues below a level, in [0, 1], and its standard error.

        A rule is off by the weight of the nodes next to the level at most (Chebyshev, Markov and
        Stieltjes): ask between clusters, not in one. The standard error is that of the starts, NaN
        if there is only one.
        """
        shares = np.array([rule.weights[rule.nodes < level].sum() for rule in self.rules])
        num = len(shares)
        error = float(shares.std(ddof=1)) / math.sqrt(num) if num > 1 else math.nan
        return float(shares.mean()), error

    def largest(self, num: int) -> list[RitzValue]:
        """Return the largest eigenvalues as found, descending; equal ones are found once.

        Each is at most the eigenvalue of its rank, so of each rank the best of all starts is taken.

        Args:
            num: How many; fewer come if no start has so many nodes.
        """
        found = []
        for rank in range(1, num + 1):
            candidates = [
                (float(rule.nodes[-rank]), float(rule.residuals[-rank]))
                for rule in self.rules
                if len(rule.nodes) >= rank
            ]
            if candidates:
                found.append(RitzValue(*max(candidates)))
        return found


def spectral_density(
    operator: Operator,
    num_starts: int = 3,
    num_steps: int = 40,
    *,
    seed: int = 0,
    collective: Collective = ALONE,
) -> SpectralDensity:
    """Measure the distribution of the eigenvalues by stochastic Lanczos quadrature.

    The Ritz values from a random unit vector, weighed by the squared first components of their
    vectors, are the Gauss rule of the distribution that the vector sees; its mean over vectors is
    that of the eigenvalues. The basis is kept orthogonal in full: without that, eigenvalues that
    have been found come up again and again. ``num_steps`` + 2 vectors live at a time.

    Args:
        operator: A.
        num_starts: Random vectors, at least 1; the spread falls with the square root.
        num_steps: Products for each, at least 1; `SpectralDensity.bandwidth` falls in proportion.
        seed: Of the random vectors, in [0, 2^64).
        collective: The ranks; rank 0's numbers are returned.

    Raises:
        MeasurementError: There are too few starts or steps, or a product is not finite.

    Source: Golub and Meurant 1994, "Matrices, moments and quadrature"; Lin, Saad, Yang 2016,
    section 3.2; Ghorbani, Krishnan, Xiao 2019, arXiv:1901.10159, section 2, for Hessians.
    """
    if num_starts < 1 or num_steps < 1:
        raise MeasurementError(
            f"num_starts = {num_starts}, num_steps = {num_steps}: a density needs at least 1 of "
            "each"
        )
    agree = first_rank(collective, operator.device)
    starts = (normal(operator, seed, number) for number in range(num_starts))
    rules = tuple(_rule(operator, start, num_steps, agree) for start in starts)
    return SpectralDensity(rules, operator.dim, num_steps)


def _rule(
    operator: Operator, start: Float[Tensor, " dim"], num_steps: int, agree: Agree
) -> GaussRule:
    krylov = begin([start], agree)
    while krylov.pending and len(krylov.basis) < num_steps:
        krylov = extend(operator, krylov, agree=agree)
        if not krylov.projection.finite:
            raise MeasurementError("the density was not measured: a product is not finite")
    pairs = ritz(krylov.projection)
    ascending = slice(None, None, -1)
    return GaussRule(
        pairs.values[ascending].copy(),
        pairs.coordinates[0, ascending] ** 2,
        pairs.residuals[ascending].copy(),
    )


def _hull(spans: list[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in spans), max(high for _, high in spans)


def _bulk(rule: GaussRule, num_steps: int) -> tuple[tuple[float, float], float]:
    """Return the span of the spectrum without outliers, and the width that is resolved in it.

    An outlier has a residual of at most 1 % of the distance to its nearest node: then the sine of
    the angle between its Ritz vector and an eigenvector is about so small. A span reaches as far
    beyond its last nodes as their residuals say.
    """
    lows, highs, num = rule.nodes - rule.residuals, rule.nodes + rule.residuals, len(rule.nodes)
    gaps = np.diff(rule.nodes, prepend=-np.inf, append=np.inf)
    known = rule.residuals <= _TAIL * np.minimum(gaps[:-1], gaps[1:])
    # Complete: leaving out what is known would leave nothing.
    some = [] if num < num_steps or known.all() else [*known]
    num_below, num_above = (int(np.argmin([*each, False])) for each in (some, some[::-1]))
    # 2 erfc(x / sqrt(2)) = 4 (1 - Phi(x))
    factor = NormalDist().inv_cdf(1 - _TAIL / 4)
    found = []
    for below in range(num_below + 1):
        for above in range(num_above + 1):
            span = float(lows[below]), float(highs[num - 1 - above])
            degree = 2 * (num_steps - below - above) - 1
            found.append(((span[1] - span[0]) / 2 / degree * factor, span))
    width, span = min(found)
    return span, width
