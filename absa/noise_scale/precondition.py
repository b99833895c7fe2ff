"""The noise scale as the optimizer sees it: of gradients times its preconditioner P.

An optimizer that steps along P g acts like plain SGD in stretched coordinates, and there the noise
scale is tr(P Sigma P) / |P G|^2. P must not be made from the gradient that it multiplies, or the
two would vary together and the estimate be biased: it is the one that the optimizer had before the
update.

- Adam: P = 1 / (sqrt(v) + eps), elementwise, of the moments before this update; so these norms can
  only be taken where the gradients are, and come in `NormSample.preconditioned`.
- LARS: one factor per tensor, its trust ratio in the update before: `scaled_by_tensor`.

Source: Qiao et al. 2021 (Pollux), arXiv:2008.12260, section 3.1.
"""

from collections.abc import Sequence
from dataclasses import replace

from absa.errors import MeasurementError
from absa.noise_scale.sample import NormSample


def scaled_by_tensor(sample: NormSample, factors: Sequence[float]) -> NormSample:
    """Return the sample with the norms that a preconditioner of one factor per tensor makes.

    Args:
        sample: Norms of the update; without units it is returned as it is.
        factors: What each tensor's gradient is multiplied with, in the order of the parameters.

    Raises:
        MeasurementError: There is not one factor per tensor.
    """
    if sample.units is None:
        return sample
    if len(factors) != len(sample.gradient):
        raise MeasurementError(
            f"{len(factors)} factors for {len(sample.gradient)} tensors; there must be one for each"
        )
    squares = [factor * factor for factor in factors]
    gradient = tuple(f * norm for f, norm in zip(squares, sample.gradient, strict=True))
    units = tuple(f * norm for f, norm in zip(squares, sample.units, strict=True))
    return replace(sample, preconditioned=(gradient, units))
