"""How the learning rate follows the batch."""

import math
from dataclasses import dataclass

from absa.noise_scale.predict import gain
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
        return None if noise is None else gain(batch, self.reference_batch, noise)


def known(noise: NoiseScale | None) -> float | None:
    """Return the noise scale, or the least that it can be; None if nothing is known."""
    if noise is None:
        return None
    return noise.least if 0 < noise.least < math.inf else None
