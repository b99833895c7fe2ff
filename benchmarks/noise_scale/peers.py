"""The estimators that others use, a few lines each.

Both give one pair of numbers per update; the noise scale is the ratio of their averages.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from absa.noise_scale.estimate import Estimate
from benchmarks.noise_scale.regression import Update

TWO_BATCHES = "two batches, EMA"
DIFFERENCES = "differences of updates, EMA"


def two_batches(seen: Iterable[Update], batch: int) -> Iterator[Estimate]:
    """Yield what the passes and the whole of each update say.

    Source: McCandlish et al. 2018, arXiv:1812.06162, appendix A.1, as k-diffusion does it over
    ranks (k_diffusion/gns.py).
    """
    for update in seen:
        num_passes = len(update.passes)
        small, big = float(np.square(update.passes).sum(1).mean()), _square(update.gradient)
        small_batch = batch / num_passes
        yield Estimate(
            trace=(small - big) / (1 / small_batch - 1 / batch),
            gradient_sq=(batch * big - small_batch * small) / (batch - small_batch),
        )


def differences(seen: Iterable[Update], batch: int) -> Iterator[Estimate]:
    """Yield what each update and the one before say, as if both were of the same weights.

    Source: AdaptDL 0.2.11, adaptdl/torch/gradient_noise_scale.py, with one replica and without
    accumulation.
    """
    before = None
    for update in seen:
        if before is not None:
            local = (_square(update.gradient) + _square(before)) / 2
            total = _square((update.gradient + before) / 2)
            yield Estimate(trace=2 * batch * (local - total), gradient_sq=2 * total - local)
        before = update.gradient


def averaged(values: Iterable[Estimate], decay: float) -> Iterator[Estimate]:
    """Yield exponential moving averages with equal decay.

    Of their ratio, which is what counts, the bias of the first updates cancels; here it is divided
    out all the same, so that each can be shown on its own.

    Args:
        values: One per update.
        decay: In [0, 1).
    """
    trace = gradient_sq = weight = 0.0
    for value in values:
        trace = decay * trace + (1 - decay) * value.trace
        gradient_sq = decay * gradient_sq + (1 - decay) * value.gradient_sq
        weight = decay * weight + 1 - decay
        yield Estimate(trace / weight, gradient_sq / weight)


def _square(gradient: np.ndarray) -> float:
    return float(gradient @ gradient)
