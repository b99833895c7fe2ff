"""The trace of an operator that is only multiplied with."""

import math
from dataclasses import dataclass

import numpy as np

from absa.collective import ALONE, Collective
from absa.curvature.agreement import first_rank
from absa.curvature.band_lanczos import dot
from absa.curvature.operator import Operator
from absa.curvature.random_vectors import signs
from absa.errors import MeasurementError


@dataclass(frozen=True)
class TraceEstimate:
    """The mean over random probes, without bias.

    Args:
        value: The mean.
        standard_error: Of the mean, from the spread of the probes.
        num_products: How many probes there were.
    """

    value: float
    standard_error: float
    num_products: int


def trace(
    operator: Operator, num_probes: int = 16, *, seed: int = 0, collective: Collective = ALONE
) -> TraceEstimate:
    """Estimate the sum of the eigenvalues by the mean of z'A z over random signs z.

    The variance of one probe is twice the sum of the squares off the diagonal: of all vectors of
    independent numbers with mean 0 and variance 1, signs have the smallest. Two vectors live at a
    time.

    Args:
        operator: A.
        num_probes: One product each, at least 2.
        seed: Of the signs, in [0, 2^64).
        collective: The ranks; rank 0's numbers are returned.

    Raises:
        MeasurementError: There are too few probes, or a product is not finite.

    Source: Hutchinson 1990, "A stochastic estimator of the trace of the influence matrix for
    Laplacian smoothing splines", section 2.
    """
    if num_probes < 2:
        raise MeasurementError(
            f"num_probes = {num_probes}: a trace needs at least 2 for its standard error"
        )
    probes = (signs(operator, seed, number) for number in range(num_probes))
    found = np.array([dot(probe, operator.product(probe)) for probe in probes])
    found = first_rank(collective, operator.device)(found)
    if not np.isfinite(found).all():
        raise MeasurementError("the trace was not measured: a product is not finite")
    error = float(found.std(ddof=1)) / math.sqrt(num_probes)
    return TraceEstimate(float(found.mean()), error, num_probes)
