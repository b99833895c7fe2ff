"""Many small non-linear least-squares problems at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Residuals = Callable[[Float[np.ndarray, "problems n"]], Float[np.ndarray, "problems m"]]

_STEP = 1e-6  # of the difference quotient: residuals are smooth, of order one, in float64
_CONVERGED = 1e-5
"""Of the sum of squares, relative: where a residual is one standard error, that is nothing."""

_MOST_STEPS = 50


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the sums of squares are least.

    Args:
        x: Of each problem.
        residuals: There.
        jacobian: Of the residuals there.
    """

    x: Float[np.ndarray, "problems n"]
    residuals: Float[np.ndarray, "problems m"]
    jacobian: Float[np.ndarray, "problems m n"]


def solve(residuals: Residuals, start: Float[np.ndarray, "problems n"]) -> Minimum:
    """Minimise the sum of squared residuals of each problem.

    Each problem has its own damping; all are evaluated side by side, which for hundreds of small
    ones is many times faster than a solver called for each. It ends when each of them has come to a
    step that hardly helped. One that has not is returned where it is after 50 steps: no sum of
    squares is ever larger than at its start.

    Args:
        residuals: Takes a row for each problem, returns a row for each. Smooth; m >= n.
        start: Where to begin; its residuals are finite.

    Returns:
        The minima, in the order of the problems.

    Source: Marquardt 1963, "An algorithm for least-squares estimation of nonlinear parameters".
    """
    x, damping = start.copy(), np.full(len(start), 1e-3)
    value = residuals(x)
    settled = np.zeros(len(start), bool)
    for _ in range(_MOST_STEPS):
        step = _step(value, _jacobian(residuals, x, value), damping)
        tried = residuals(x + step)
        before, after = (value**2).sum(axis=1), (tried**2).sum(axis=1)
        better = after <= before  # False where it is not finite
        x, value = np.where(better[:, None], x + step, x), np.where(better[:, None], tried, value)
        damping = np.clip(np.where(better, damping / 10, damping * 10), 1e-12, 1e12)
        settled |= better & (before - after <= _CONVERGED * before)
        if settled.all():
            break
    return Minimum(x, value, _jacobian(residuals, x, value))


def _step(
    value: Float[np.ndarray, "problems m"],
    slope: Float[np.ndarray, "problems m n"],
    damping: Float[np.ndarray, " problems"],
) -> Float[np.ndarray, "problems n"]:
    transposed = slope.transpose(0, 2, 1)
    curved = transposed @ slope
    diagonal = np.einsum("pii->pi", curved)
    diagonal *= 1 + damping[:, None]
    return np.asarray(-np.linalg.solve(curved, transposed @ value[:, :, None])[:, :, 0])


def _jacobian(
    residuals: Residuals,
    x: Float[np.ndarray, "problems n"],
    value: Float[np.ndarray, "problems m"],
) -> Float[np.ndarray, "problems m n"]:
    columns = [(residuals(x + _STEP * axis) - value) / _STEP for axis in np.eye(x.shape[1])]
    return np.stack(columns, axis=2)
