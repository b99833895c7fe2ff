"""An upper bound for the largest eigenvalue, from a random start vector.

A Krylov space shows nothing of an eigenvector x that its start vectors are orthogonal to. A random
unit vector z is not: its cosine with any fixed x is below a known size with a known probability
only. And once products have been made, the cosine with an eigenvector of eigenvalue l is bounded
from above too: for every y

    |x'z| = |x'(z - (A - l) y)| <= |z - (A - l) y|

since x'(A - l) = 0. The smallest right-hand side over all y of the basis is a least-squares problem
of the projected operator. An eigenvalue at which it is less than the cosine must be does not exist.

Because the first size does not depend on what the products show, all bounds from one z are right
together: one may look after each product and stop at will. Columns beside z in the block only make
the right-hand side smaller.

Source: van Dorsselaer, Hochstenbach, van der Vorst 2000, "Computing probabilistic bounds for
extreme eigenvalues of symmetric matrices with the Lanczos method", SIAM J. Matrix Anal. Appl.
22(3): the bound by Lanczos polynomials. Theirs takes one residual, that of the last polynomial; the
least squares are a little sharper and hold for a block. Kuczynski and Wozniakowski 1992 (same
journal, 13(4)) bound the error before a product is seen, for a number of products fixed beforehand.
"""

import math

import numpy as np
from jaxtyping import Float64

from absa.curvature.projection import Projection, ritz


def smallest_cosine(dim: int, failure_probability: float) -> float:
    """Return what the cosine of a random vector with a fixed one exceeds.

    The density of the cosine, proportional to (1 - t^2)^((dim - 3) / 2), is at most its value at 0
    for dim >= 3; that is at most sqrt((dim - 1) / (2 pi)) (Gautschi's inequality for the ratio of
    Gamma functions). For dim 2 the arc sine is above the same line up to a probability of 1/2.

    Args:
        dim: Of the vectors, at least 1.
        failure_probability: That it does not exceed it, in (0, 1/2].

    Returns:
        In (0, 1].
    """
    if dim == 1:
        return 1.0
    return failure_probability * math.sqrt(math.pi / (2 * (dim - 1)))


def largest_cosine(
    projection: Projection, start: int, distances: Float64[np.ndarray, " l"]
) -> Float64[np.ndarray, " l"]:
    """Return what the cosine of a start vector with an eigenvector cannot exceed.

    Args:
        projection: Finite; the basis holds all of the start vector.
        start: Number of the start vector.
        distances: How far the eigenvalue lies above the largest Ritz value, > 0.

    Returns:
        For each distance, in [0, 1].
    """
    pairs = ritz(projection)
    outside = projection.outside @ pairs.coordinates
    # With S = level - matrix and B = outside, the squared residual of the least-squares problem is
    # z'(I - S (S^2 + B'B)^-1 S) z = g'(I + H)^-1 g with g = B S^-1 z and H = B S^-2 B'. Both are
    # multiplied by the distance d, so that nothing grows without bound near the Ritz value.
    d = distances[:, None]
    inverse = d / (d + (pairs.values[0] - pairs.values))
    g = (inverse * (projection.starts[start] @ pairs.coordinates)) @ outside.T
    values, vectors = np.linalg.eigh(np.einsum("pm,lm,qm->lpq", outside, inverse**2, outside))
    parts = np.einsum("lp,lpq->lq", g, vectors) ** 2 / (d**2 + np.maximum(values, 0))
    return np.asarray(np.sqrt(np.minimum(parts.sum(axis=1), 1)))


def least_squares(projection: Projection, start: int, level: float) -> Float64[np.ndarray, " m"]:
    """Return the y with the smallest residual at a level, in coordinates of the basis.

    Args:
        projection: Finite; the basis holds all of the start vector.
        start: Number of the start vector.
        level: Above the largest Ritz value.
    """
    shifted = (projection.matrix + projection.matrix.T) / 2 - level * np.eye(len(projection.matrix))
    outside = projection.outside
    wanted = np.concatenate([projection.starts[start], np.zeros(len(outside))])
    return np.asarray(np.linalg.lstsq(np.concatenate([shifted, outside]), wanted, rcond=None)[0])


def upper_bound(projection: Projection, start: int, dim: int, failure_probability: float) -> float:
    """Return what the largest eigenvalue does not exceed, but for the failure probability.

    Args:
        projection: Finite.
        start: The start vector that was drawn at random, independently of the operator.
        dim: Of the operator.
        failure_probability: Over draws of the start vector, in (0, 1/2]; that of any bound from
            this vector, after any number of products, being wrong.

    Returns:
        At least the largest Ritz value; inf until the start vector has been multiplied.
    """
    if not len(projection.matrix) or not projection.holds(start):
        return math.inf
    top = float(ritz(projection).values[0])
    cosine = smallest_cosine(dim, failure_probability)
    # Beyond this distance from the top even |B| |z| / distance is below the cosine.
    far = float(np.linalg.norm(projection.outside)) / cosine
    near = _NEAREST * far
    if far == 0:
        return top
    # The cosine need not fall steadily, so all of the range is looked at before the last crossing
    # is narrowed down. Its poles are not above the top: it changes on the scale of the distance.
    for num in (256, 32):
        distances = np.geomspace(near, far, num)
        possible = largest_cosine(projection, start, distances) >= cosine
        last = int(np.flatnonzero(possible)[-1]) if possible.any() else 0
        near, far = distances[last], distances[min(last + 1, num - 1)]
    return top + float(far)


_NEAREST = 1e-10
"""Relative to the farthest level that is looked at: below the rounding of float32 products."""
