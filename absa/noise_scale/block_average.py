"""Weighted averages of what blocks of updates say, and how exact they are.

A block says three numbers: the trace and |G|^2 as its last update gives them, and by how much
|G|^2 would differ if the norms of all its updates counted, a correction that is zero on average.
|G|^2 + share * correction is right on average for any share, so it is the share at which it
scatters least: near 1 where the batch is large against the noise scale, and every |g|^2 is worth as
much as the last one; near 0 where few samples with large gradients make both the trace and |g|^2 of
an update, which then err together and must be of the same update for their errors to cancel.
(A small network on MNIST at a tenth of its noise scale: share 1 is 2 to 3 times worse than 0.)

Old values fade. The scatter is that of squared weights, which needs no assumption that all values
are equally exact: a long block is more exact than a short one. It is updated by differences, so
nothing cancels.

Source: Cochran 1977, Sampling Techniques, section 12.6 (regression in double sampling); West 1979,
CACM 22(9) (the recurrence); Kish 1965, Survey Sampling, section 11.7 (the effective number);
MacKinnon and White 1985, J. Econometrics 29(3) (the variance of a mean of unequally exact values).
"""

import math
from dataclasses import dataclass

Three = tuple[float, float, float]
"""Of the trace, |G|^2 and the correction."""

Six = tuple[float, float, float, float, float, float]
"""Products of two of the three: 00, 01, 02, 11, 12, 22."""


@dataclass(frozen=True)
class Errors:
    """How exact the means of trace and |G|^2 are.

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


@dataclass(frozen=True)
class Means:
    """What blocks say on average.

    Args:
        trace: tr(Sigma).
        gradient_sq: |G|^2.
        errors: Of both; None where too few blocks tell.
        num_updates: How many updates of equal weight, with the units of each looked at, would give
            |G|^2 as exactly.
    """

    trace: float
    gradient_sq: float
    errors: Errors | None
    num_updates: float


@dataclass(frozen=True)
class BlockAverage:
    """What is remembered of blocks.

    Args:
        weight: Sum of the weights w.
        squares: Sum of w^2.
        fourths: Sum of w^4.
        means: With weights w.
        means_2: With weights w^2.
        scatter_2: Mean products of distances from ``means_2``, with weights w^2.
    """

    weight: float = 0.0
    squares: float = 0.0
    fourths: float = 0.0
    means: Three = (0.0, 0.0, 0.0)
    means_2: Three = (0.0, 0.0, 0.0)
    scatter_2: Six = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def num_blocks(self) -> float:
        """Return how many blocks of equal weight would have means as exact; 0 before the first."""
        return self.weight**2 / self.squares if self.weight else 0.0

    def add(self, said: Three, weight: float, fade: float) -> "BlockAverage":
        """Return the average with one more block.

        Args:
            said: What it says.
            weight: Of it, > 0.
            fade: What older weights are multiplied with, in [0, 1].
        """
        total = fade * self.weight + weight
        squares = fade**2 * self.squares + weight**2
        share, share_2 = weight / total, weight**2 / squares
        (x, y, z), (m, n, o), (a, b, c) = said, self.means, self.means_2
        far_x, far_y, far_z = x - a, y - b, z - c
        xx, xy, xz, yy, yz, zz = self.scatter_2
        keep_2 = 1 - share_2
        return BlockAverage(
            total,
            squares,
            fade**4 * self.fourths + weight**4,
            (m + share * (x - m), n + share * (y - n), o + share * (z - o)),
            (a + share_2 * far_x, b + share_2 * far_y, c + share_2 * far_z),
            (
                keep_2 * (xx + share_2 * far_x * far_x),
                keep_2 * (xy + share_2 * far_x * far_y),
                keep_2 * (xz + share_2 * far_x * far_z),
                keep_2 * (yy + share_2 * far_y * far_y),
                keep_2 * (yz + share_2 * far_y * far_z),
                keep_2 * (zz + share_2 * far_z * far_z),
            ),
        )

    def result(self) -> Means:
        """Return the means, with the correction's share that makes |G|^2 most exact."""
        trace, gradient_sq, correction = self.means
        xx, xy, xz, yy, yz, zz = self._scatter()
        # Too few blocks tell no share from another.
        degrees = self._deciding() - 2
        share = min(max(-yz / zz, 0.0), 1.0) if zz > 0 and degrees >= 1 else 0.0
        if share == 0:
            degrees += 1
        gradient_sq += share * correction
        if degrees < 1:
            return Means(trace, gradient_sq, None, self.num_blocks)
        # Distances are from the mean of the same values, hence the correction by the number of
        # blocks that decide; it is exact where all weights are equal.
        factor = 1 / (self.num_blocks * (1 - 1 / self._deciding()))
        combined = max(yy + share * (2 * yz + share * zz), 0.0)
        errors = Errors(factor * xx, factor * (xy + share * xz), factor * combined, degrees)
        worth = yy / combined if combined else 1.0
        return Means(trace, gradient_sq, errors, self.num_blocks * worth)

    def _deciding(self) -> float:
        """Return how many blocks decide the scatter."""
        return self.squares**2 / self.fourths if self.fourths else 0.0

    def _scatter(self) -> Six:
        """Return the mean products of distances from ``means``, with weights w^2."""
        x, y, z = (a - m for a, m in zip(self.means_2, self.means, strict=True))
        xx, xy, xz, yy, yz, zz = self.scatter_2
        return (xx + x * x, xy + x * y, xz + x * z, yy + y * y, yz + y * z, zz + z * z)
