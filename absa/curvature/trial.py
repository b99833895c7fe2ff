"""Finds out, before anything is trained, whether a model's curvature can be measured."""

from absa.collective import ALONE
from absa.curvature.probe import CurvatureProbe, problem_of
from absa.errors import AbsaError
from absa.update.replica import Replica

_REFUSALS = (
    *(AbsaError, ArithmeticError, AssertionError, AttributeError),
    *(LookupError, RuntimeError, TypeError, ValueError),
)
"""What a model may raise that nobody has differentiated twice before."""


def why_not(probe: CurvatureProbe, replica: Replica) -> str | None:
    """Make one product with all the samples, which is more than a rank will ever have to hold.

    Kernels without a second derivative and a lack of memory are both found here, at the start and
    by every rank alike, and not at the first measurement.

    Returns:
        Why it cannot be measured, or None if it can.
    """
    try:
        with probe.operator(problem_of(probe, replica, ALONE)) as operator:
            operator.product(operator.gradient)
    except _REFUSALS as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None
