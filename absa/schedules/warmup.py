"""How the learning rate gets from its unscaled value to the one of the global batch."""

from dataclasses import dataclass
from typing import Protocol


class Warmup(Protocol):
    """A warm-up in factors of the reference learning rate.

    The peak is passed in at every update, because the global batch may grow during the warm-up;
    a rule whose length depends on the batch (LEGW, arXiv:1901.08256) finds it there too.
    """

    def length(self, peak: float) -> float:
        """Return the samples until the peak is reached."""
        ...

    def factor(self, samples: float, peak: float) -> float:
        """Return the factor after that many samples; ``peak`` from ``length(peak)`` on."""
        ...


@dataclass(frozen=True)
class NoWarmup:
    """The scaled learning rate from the start."""

    def length(self, peak: float) -> float:
        """Return 0."""
        return 0.0

    def factor(self, samples: float, peak: float) -> float:
        """Return the peak."""
        return peak


@dataclass(frozen=True)
class ConstantWarmup:
    """The unscaled learning rate, then a jump to the scaled one.

    Args:
        samples: How long it is held, >= 0.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2.
    """

    samples: float

    def length(self, peak: float) -> float:
        """Return the samples until the jump."""
        return self.samples

    def factor(self, samples: float, peak: float) -> float:
        """Return 1 during the warm-up; a peak below 1 needs none and is returned."""
        return min(1.0, peak) if samples < self.samples else peak


@dataclass(frozen=True)
class GradualWarmup:
    """A straight line from the unscaled learning rate to the scaled one.

    Args:
        samples: How long it climbs, >= 0.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2.
    """

    samples: float

    def length(self, peak: float) -> float:
        """Return the samples until the peak."""
        return self.samples

    def factor(self, samples: float, peak: float) -> float:
        """Return a factor between 1 and the peak; a peak below 1 needs no warm-up."""
        if samples >= self.samples:
            return peak
        low = min(1.0, peak)
        return low + (peak - low) * samples / self.samples
