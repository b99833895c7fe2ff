"""How the learning rate falls, as a share of its peak or down to a fixed value."""

import math
from dataclasses import dataclass
from typing import Protocol


class Decay(Protocol):
    """A fall of the learning rate over a run."""

    def lr(self, peak: float, samples: float, warmup: float) -> float:
        """Return the learning rate.

        Args:
            peak: Learning rate without decay, warm-up included, >= 0.
            samples: Samples seen so far.
            warmup: Length of the warm-up [samples].

        Returns:
            A learning rate in [0, peak].
        """
        ...


@dataclass(frozen=True)
class NoDecay:
    """The peak to the end."""

    def lr(self, peak: float, samples: float, warmup: float) -> float:
        """Return the peak."""
        return peak


@dataclass(frozen=True)
class StepDecay:
    """A fall by a constant factor at each milestone, counted from the start of the run.

    Args:
        milestones: Samples at which the learning rate falls, ascending.
        factor: What it is multiplied with there, in (0, 1].

    Source: Goyal et al. 2017, arXiv:1706.02677, section 5.1 (1/10 at epochs 30, 60 and 80 of 90).
    """

    milestones: tuple[float, ...]
    factor: float

    def lr(self, peak: float, samples: float, warmup: float) -> float:
        """Return the peak times the factor for every milestone that was reached."""
        return peak * self.factor ** sum(samples >= milestone for milestone in self.milestones)


@dataclass(frozen=True)
class PolynomialDecay:
    """From the peak to a fixed learning rate along ``(1 - progress) ** power``.

    Progress counts from the end of the warm-up, as in the MLPerf recipes for LARS.

    Args:
        total_samples: Where training ends.
        power: Exponent, > 0; the LARS paper takes 2.
        end_lr: Learning rate at the end, >= 0; where the peak is lower, the peak.

    Source: arXiv:1708.03888, section 5 (power 2); mlcommons/training_policies (end_lr).
    """

    total_samples: float
    power: float
    end_lr: float

    def lr(self, peak: float, samples: float, warmup: float) -> float:
        """Return the learning rate; constant after the end."""
        end = min(self.end_lr, peak)
        left = 1 - progress(samples, warmup, self.total_samples)
        return end + (peak - end) * math.pow(left, self.power)


@dataclass(frozen=True)
class CosineDecay:
    """From the peak to a share of it along half a cosine, from the end of the warm-up.

    Args:
        total_samples: Where training ends.
        end_fraction: Share of the peak at the end, in [0, 1].

    Source: Loshchilov and Hutter 2016, arXiv:1608.03983, equation (5), one period.
    """

    total_samples: float
    end_fraction: float

    def lr(self, peak: float, samples: float, warmup: float) -> float:
        """Return the learning rate; constant after the end."""
        share = (1 + math.cos(math.pi * progress(samples, warmup, self.total_samples))) / 2
        return peak * (self.end_fraction + (1 - self.end_fraction) * share)


def progress(samples: float, start: float, end: float) -> float:
    """Return how far ``samples`` is on the way from ``start`` to ``end``, in [0, 1]."""
    if samples >= end:
        return 1.0
    return 0.0 if samples <= start else (samples - start) / (end - start)
