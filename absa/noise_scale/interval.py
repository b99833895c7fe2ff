"""How sure a noise scale is: a confidence interval for the ratio of two means.

A ratio whose denominator may be zero has neither mean nor variance, so no "value plus or minus".
Fieller asks instead which ratios r fit the data: those for which mean(trace) - r mean(|G|^2), which
is zero on average for the true r, is within t of its own standard errors. They are an interval as
long as |G|^2 is above zero with certainty; else all ratios from a lower end upwards fit.

Source: Fieller 1954, "Some problems in interval estimation", J. R. Stat. Soc. B 16(2).
"""

import math

from absa.errors import MeasurementError
from absa.noise_scale.block_average import BlockAverage, Errors
from absa.noise_scale.student_t import two_sided_quantile
from absa.signals import NoiseScale


def noise_scale(average: BlockAverage, confidence: float) -> NoiseScale:
    """Return tr(Sigma) / |G|^2 with its interval.

    The interval holds the truth with at least about the stated probability, and each of its ends
    errs in about half of the rest: "at least ``lower``" alone is wrong half as often.

    Args:
        average: Of what blocks say.
        confidence: In (0, 1).

    Returns:
        The noise scale; its value is None where |G|^2 is not certainly above zero.

    Raises:
        MeasurementError: The confidence is out of range.
    """
    if not 0 < confidence < 1:
        raise MeasurementError(f"the confidence is {confidence}; it must be above 0 and below 1")
    means = average.result()
    lower, value, upper = 0.0, None, math.inf
    if means.errors is not None:
        t = two_sided_quantile(confidence, means.errors.degrees)
        lower, upper = fieller(means.trace, means.gradient_sq, means.errors, t)
    if upper < math.inf:
        value = means.trace / means.gradient_sq
        lower, upper = min(lower, value), max(upper, value)  # rounding apart, they are that already
    return NoiseScale(
        value=value,
        lower=lower,
        upper=upper,
        gradient_sq=means.gradient_sq,
        trace=means.trace,
        confidence=confidence,
        num_updates=means.num_updates,
    )


def fieller(trace: float, gradient_sq: float, errors: Errors, t: float) -> tuple[float, float]:
    """Return the ends of the interval of ratios >= 0 that fit.

    A ratio r fits if |trace - r gradient_sq| is at most t standard errors of that difference,
    which is a r^2 - 2 h r + c <= 0. The root that serves is taken in the form without cancellation.

    A negative |G|^2 is impossible, so its estimate counts as 0. That only widens the interval,
    because the difference then is no larger than it was.

    Args:
        trace: Mean trace, at least 0.
        gradient_sq: Mean |G|^2; may be negative by noise.
        errors: Of both means.
        t: How many standard errors are allowed, > 0.

    Returns:
        Lower and upper end; the upper is inf where |G|^2 = 0 fits. Where two separate stretches of
        ratios fit, what lies between them is not left out.
    """
    gradient_sq = max(gradient_sq, 0.0)
    far, far_sq = t * math.sqrt(errors.var_trace), t * math.sqrt(errors.var_gradient_sq)
    # In units of their own size: the products below can neither overflow nor vanish.
    unit, unit_sq = max(trace, far), max(gradient_sq, far_sq)
    if unit == 0:  # no noise was ever seen
        return 0.0, 0.0 if gradient_sq > 0 else math.inf
    if unit_sq == 0:  # no gradient was
        return math.inf, math.inf
    x, y, far, far_sq = trace / unit, gradient_sq / unit_sq, far / unit, far_sq / unit_sq
    a = (y - far_sq) * (y + far_sq)
    h = x * y - errors.correlation * far * far_sq
    c = (x - far) * (x + far)
    root = math.sqrt(max(h * h - a * c, 0.0))
    back = unit / unit_sq  # 0 if it is too small for a float, so no factor of infinity
    lower, upper = 0.0, math.inf
    if c > 0:  # the ratio 0 does not fit; a < 0 where h <= 0
        lower = back * (c / (h + root) if h > 0 else (h - root) / a)
    if a > 0:
        upper = back * ((h + root) / a)
    return lower, upper
