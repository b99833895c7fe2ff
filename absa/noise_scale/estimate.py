"""The trace of the noise and the squared gradient, unbiased, from the norms of one update.

In the notation of `NormSample`: a sample's weighted gradient is its weight times G plus a residual
of zero mean; let V be the expected squared norm of a residual, the same in all units. The gradient
g of the update then has the squared norm |G|^2 + V B / W^2 on average, and

    E[sum of |s_u|^2 / W_u - W |g|^2] = V (C - B / W),    C = sum of b_u / W_u,

because |G|^2 drops out: it enters both terms as W |G|^2. tr(Sigma) is V (B / W)^2, what single
samples of weight W / B contribute. Where all weights are 1 this is the familiar
(sum of |s_u|^2 / b_u - B |g|^2) / (n - 1) of n units, whatever their sizes.

The samples of an epoch are drawn without replacement from D, and s_u is a sum over a random subset:
then |G| is the gradient over all D, tr(Sigma) the trace of their covariance normalised by D - 1,
and E |g|^2 = |G|^2 + tr(Sigma) (1 / B - 1 / D), exact down to B = D if all weigh the same.

Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1 (two batch sizes, equal weights, with
replacement); Cochran 1977, Sampling Techniques, theorem 2.2 (without).
"""

import math
from dataclasses import dataclass

from absa.errors import MeasurementError
from absa.noise_scale.sample import NormSample


@dataclass(frozen=True)
class Estimate:
    """What one update says; average many before dividing, for the ratio of these two is biased.

    Args:
        trace: Of tr(Sigma), at least 0.
        gradient_sq: Of |G|^2; often negative where that is small against tr(Sigma) / B.
    """

    trace: float
    gradient_sq: float


def estimate(sample: NormSample, num_train: int | None = None) -> Estimate | None:
    """Estimate tr(Sigma) and |G|^2 of the whole model from one update.

    Args:
        sample: Norms of the update.
        num_train: D; None where samples are drawn with replacement, or are new every time.

    Returns:
        The estimates, or None where fewer than two units were looked at.

    Raises:
        MeasurementError: A number is not finite or impossible.
    """
    check(sample, num_train)
    if not is_finite(sample):
        raise MeasurementError(
            "the squared norms of an update are not finite, or its samples weigh nothing; leave "
            "updates out that were skipped"
        )
    if sample.units is None or not has_units(sample):
        return None
    gradient = sum(sample.gradient)
    trace = trace_of(sample, gradient, sum(sample.units))
    return Estimate(trace, gradient - trace * (1 / sample.num_samples - _inverse(num_train)))


def trace_of(sample: NormSample, gradient: float, units: float) -> float:
    """Return the estimate of tr(Sigma) in some of the tensors.

    Args:
        sample: Of which `has_units` is true.
        gradient: Sum of |g|^2 over those tensors.
        units: Sum of the units' norms over them.

    Returns:
        A number >= 0: a sum of squares but for rounding.
    """
    mean_weight = sample.weight / sample.num_samples
    spread = (units - sample.weight * gradient) / (sample.samples_per_weight - 1 / mean_weight)
    return max(spread / mean_weight**2, 0.0)


def has_units(sample: NormSample) -> bool:
    """Return whether a sample has at least two units, so that they say something of the noise."""
    if sample.units is None:
        return False
    # C W / B is 1 for one unit and n for n units of equally heavy samples; less than a millionth
    # above 1 is rounding of the sums in float32.
    return sample.samples_per_weight * sample.weight > sample.num_samples * (1 + 1e-6)


def is_finite(sample: NormSample) -> bool:
    """Return whether something weighed, and all norms and their squares are finite.

    If not, the update was skipped.
    """
    total = sum(sample.gradient) + sum(sample.units or ())
    for norms in sample.preconditioned or ():
        total += sum(norms)
    return sample.weight > 0 and math.isfinite(total * total)  # averages take squares


def check(sample: NormSample, num_train: int | None) -> None:
    """Raise if a sample contradicts itself; whether its norms are finite is not looked at.

    Raises:
        MeasurementError: It does.
    """
    if sample.num_samples < 1 or sample.weight < 0:
        raise MeasurementError(
            f"an update of {sample.num_samples} samples that weigh {sample.weight:g}: there must "
            "be a sample, and no negative weight"
        )
    if num_train is not None and sample.num_samples > num_train:
        raise MeasurementError(
            f"an update of {sample.num_samples} samples from a training set of {num_train}: an "
            "update takes each at most once; num_train is None where samples may repeat"
        )
    if sample.units is not None and len(sample.units) != len(sample.gradient):
        raise MeasurementError(
            f"norms of {len(sample.gradient)} tensors of the gradient, but of {len(sample.units)} "
            "tensors of its units; both must have one per tensor"
        )


def _inverse(num_train: int | None) -> float:
    return 0.0 if num_train is None else 1 / num_train
