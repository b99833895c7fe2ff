"""Differences between arms whose runs have the seed in common."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from absa.noise_scale.student_t import two_sided_quantile

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A mean difference with its confidence interval.

    Args:
        mean: Over the seeds that both arms have.
        half_width: Of the interval; None with a single seed.
        num_seeds: How many those are.
    """

    mean: float
    half_width: float | None
    num_seeds: int

    def __str__(self) -> str:
        """Return it with two digits and a sign."""
        if self.half_width is None:
            return f"{self.mean:+.2f}"
        return f"{self.mean:+.2f} +- {self.half_width:.2f}"


def difference(ours: Mapping[int, float], peer: Mapping[int, float]) -> Difference | None:
    """Return ours - peer by Student's t, taking the seeds for independent; None without a pair.

    Args:
        ours: A number for each seed.
        peer: The same of the peer.
    """
    seeds = sorted(ours.keys() & peer.keys())
    if not seeds:
        return None
    values = [ours[seed] - peer[seed] for seed in seeds]
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Difference(mean, None, 1)
    error = statistics.stdev(values) / math.sqrt(len(values))
    quantile = two_sided_quantile(CONFIDENCE, len(values) - 1)
    return Difference(mean, quantile * error, len(values))


def mean_and_spread(values: Sequence[float]) -> str:
    """Return the mean and, of several values, their standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.fmean(values):.2f} ({statistics.stdev(values):.2f})"
