"""How the learning rate follows the batch."""

import math
from dataclasses import dataclass

from absa.policy.observation import Observation
from absa.schedules.scaling import ScalingRule, scaling_factor
from absa.signals import NoiseScale


@dataclass(frozen=True)
class Following:
    """By which rule, and from which batch on.

    Args:
        rule: linear, sqrt, none, or gain (AdaScale's).
        reference_batch: The batch that the learning rate is meant for, in samples.
    """

    rule: ScalingRule
    reference_batch: int

    def target(self, batch: int, observation: Observation) -> float | None:
        """Return what the learning rate of the reference batch is to be multiplied with.

        Args:
            batch: Global batch, in samples.
            observation: What is known.

        Returns:
            A factor > 0; None where it depends on a signal that is not there.
        """
        if self.rule != "gain":
            return scaling_factor(self.rule, batch, self.reference_batch)
        noise = known(observation.noise)
        return None if noise is None else gain(noise, batch, self.reference_batch)


def known(noise: NoiseScale | None) -> float | None:
    """Return the noise scale, or the least that it can be; None if nothing is known."""
    if noise is None:
        return None
    least = noise.lower if noise.value is None else noise.value
    return least if 0 < least < math.inf else None


def gain(noise: float, batch: int, reference_batch: int) -> float:
    """Return how much farther an update of a batch gets than one of the reference batch.

    (tr(Sigma) / b0 + |G|^2) / (tr(Sigma) / b + |G|^2): near the batch's own factor far below the
    noise scale, and at most 1 + noise / b0 however large the batch is.

    Args:
        noise: The noise scale, tr(Sigma) / |G|^2, in samples, > 0.
        batch: Samples of the update, > 0.
        reference_batch: Samples that the learning rate was chosen for (b0), > 0.

    Source: Johnson et al. 2020, arXiv:2007.05105, section 3 (AdaScale's gain ratio).
    """
    return (noise / reference_batch + 1) / (noise / batch + 1)
