"""The largest learning rate that the curvature allows."""

import math
from dataclasses import dataclass

from absa.policy.observation import Observation


@dataclass(frozen=True)
class Stability:
    """Growth of the learning rate stays below the limit of heavy-ball descent.

    On a quadratic with curvature c, gradient descent with momentum m converges while the learning
    rate is below 2 (1 + m) / c. It says nothing of adaptive or layer-wise optimizers.

    Args:
        momentum: m, in [0, 1).
        margin: Share of the limit that is allowed, > 0.

    Source: Polyak 1964; Cohen et al. 2021, arXiv:2103.00065, appendix B (heavy ball).
    """

    momentum: float
    margin: float

    def highest_scale(self, observation: Observation) -> float:
        """Return the largest factor of the base learning rate that is allowed; inf if unknown.

        Args:
            observation: What is known; an eigenvalue that is not positive allows everything.
        """
        found = observation.curvature
        if found is None or not found.value > 0 or observation.base_lr <= 0:
            return math.inf
        limit = 2 * (1 + self.momentum) / found.value
        return self.margin * limit / observation.base_lr
