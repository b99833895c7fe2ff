"""A weighted average of two numbers that are measured together, and how exact it is.

Old values fade: each counts less by a factor whenever a new one comes. The scatter is that of
squared shares about the mean, which needs no assumption that all values are equally exact: a block
of many updates is more exact than a short one. It is updated by differences, so nothing cancels.

Source: West 1979, "Updating mean and variance estimates", CACM 22(9) (the recurrence); Kish 1965,
Survey Sampling, section 11.7 (the effective number); MacKinnon and White 1985, J. Econometrics
29(3) (the variance of a mean of unequally exact values).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PairAverage:
    """Means of the pairs (trace, gradient_sq) and what their errors follow from.

    Args:
        weight: Sum of the weights w.
        trace: Mean of the first number.
        gradient_sq: Mean of the second.
        squares: Sum of w^2.
        fourths: Sum of w^4.
        trace_2: Mean of the first number with weights w^2, and so on below.
        gradient_sq_2: Mean of the second.
        var_trace: Mean squared distance of the first from its mean.
        covariance: Mean product of both distances.
        var_gradient_sq: Mean squared distance of the second.
    """

    weight: float = 0.0
    trace: float = 0.0
    gradient_sq: float = 0.0
    squares: float = 0.0
    fourths: float = 0.0
    trace_2: float = 0.0
    gradient_sq_2: float = 0.0
    var_trace: float = 0.0
    covariance: float = 0.0
    var_gradient_sq: float = 0.0

    @property
    def num_pairs(self) -> float:
        """Return how many pairs of equal weight would have means as exact; 0 before the first."""
        return self.weight**2 / self.squares if self.weight else 0.0

    def add(self, trace: float, gradient_sq: float, weight: float, fade: float) -> "PairAverage":
        """Return the average with one more pair.

        Args:
            trace: The first number.
            gradient_sq: The second.
            weight: Of this pair, > 0.
            fade: What older weights are multiplied with, in [0, 1].
        """
        total = fade * self.weight + weight
        share = weight / total
        squares = fade**2 * self.squares + weight**2
        share_2 = weight**2 / squares
        keep_2 = 1 - share_2
        far_trace, far_gradient = trace - self.trace_2, gradient_sq - self.gradient_sq_2
        return PairAverage(
            total,
            self.trace + share * (trace - self.trace),
            self.gradient_sq + share * (gradient_sq - self.gradient_sq),
            squares,
            fade**4 * self.fourths + weight**4,
            self.trace_2 + share_2 * far_trace,
            self.gradient_sq_2 + share_2 * far_gradient,
            keep_2 * (self.var_trace + share_2 * far_trace * far_trace),
            keep_2 * (self.covariance + share_2 * far_trace * far_gradient),
            keep_2 * (self.var_gradient_sq + share_2 * far_gradient * far_gradient),
        )

    def errors(self) -> "Errors | None":
        """Return variances and covariance of the two means, or None if too few pairs tell them."""
        if self.squares**2 < 2 * self.fourths or not self.fourths:
            return None
        num_deciding = self.squares**2 / self.fourths
        # Distances are from the mean of the same values, hence the correction; it is exact where
        # all weights are equal.
        factor = 1 / (self.num_pairs * (1 - 1 / num_deciding))
        off_trace = self.trace_2 - self.trace
        off_gradient = self.gradient_sq_2 - self.gradient_sq
        return Errors(
            factor * (self.var_trace + off_trace * off_trace),
            factor * (self.covariance + off_trace * off_gradient),
            factor * (self.var_gradient_sq + off_gradient * off_gradient),
            num_deciding - 1,
        )


@dataclass(frozen=True)
class Errors:
    """How exact two means are.

    Args:
        var_trace: Variance of the first.
        covariance: Of both.
        var_gradient_sq: Variance of the second.
        degrees: Degrees of freedom of these three, at least 1.
    """

    var_trace: float
    covariance: float
    var_gradient_sq: float
    degrees: float

    @property
    def correlation(self) -> float:
        """Return the correlation of the two means, in [-1, 1]."""
        scale = math.sqrt(self.var_trace) * math.sqrt(self.var_gradient_sq)
        return min(max(self.covariance / scale, -1.0), 1.0) if scale else 0.0
