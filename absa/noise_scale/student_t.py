"""Student's t distribution: how far a mean of few values may lie from the truth."""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

# With 40 nodes the quantile of 1 to 1e6 degrees is within 6e-9 of scipy's up to 99 %, within 3e-4
# at 99.9 %, where the density has a corner at the end for degrees near 1.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


@lru_cache(maxsize=32)  # the groups of a model share one number
def two_sided_quantile(confidence: float, degrees: float) -> float:
    """Return the t below which the absolute value of a t variable stays with a probability.

    With t = sqrt(degrees) tan(a) the density is a power of cos(a), which Gauss-Legendre integrates;
    Newton's method inverts the integral. It starts from the normal quantile, which is too small, so
    that the concave integral is met from below and the iteration cannot overshoot.

    Args:
        confidence: The probability, in (0, 1).
        degrees: Degrees of freedom, at least 1, not necessarily whole.

    Returns:
        A number > 0; the normal quantile where there are many degrees of freedom.
    """
    normal = NormalDist().inv_cdf((1 + confidence) / 2)
    if degrees > 1e6:  # the difference is below the sixth digit
        return normal
    whole = (
        math.sqrt(math.pi) / 2 * math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees + 1) / 2))
    )
    angle = math.atan(normal / math.sqrt(degrees))
    for _ in range(50):
        powers = np.cos(angle / 2 * (_NODES + 1)) ** (degrees - 1)
        missing = confidence * whole - angle / 2 * float(_WEIGHTS @ powers)
        step = missing / math.cos(angle) ** (degrees - 1)
        angle = min(angle + step, math.pi / 2 - 1e-12)
        if abs(step) <= 1e-12 * angle:
            break
    return math.sqrt(degrees) * math.tan(angle)
