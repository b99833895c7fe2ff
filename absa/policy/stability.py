"""The largest learning rate that the curvature allows."""

import math
from dataclasses import dataclass

from absa.policy.observation import Observation


@dataclass(frozen=True)
class Stability:
    """Growth of the learning rate stays below the limit of descent with momentum.

    On a quadratic with curvature c, heavy-ball descent with momentum m converges while the learning
    rate is below 2 (1 + m) / c, Nesterov's while it is below 2 (1 + m) / ((1 + 2 m) c). It says
    nothing of adaptive or layer-wise optimizers.

    Args:
        momentum: m, in [0, 1).
        margin: Share of the limit that is allowed, > 0.
        nesterov: Whether the momentum is Nesterov's.

    Source: Polyak 1964 (heavy ball); Cohen et al. 2021, arXiv:2103.00065, appendix B (both).
    """

    momentum: float
    margin: float
    nesterov: bool = False

    def highest_scale(self, observation: Observation) -> float | None:
        """Return the largest factor of the base learning rate that is allowed; None if unknown.

        Unknown where the last measurement failed, or ended before its value was exact: a value is
        only a lower bound of the curvature then.

        Args:
            observation: What is known; an eigenvalue that is not positive allows everything.
        """
        found = observation.curvature
        if found is None or found.stopped not in ("tolerance", "fallen"):
            return None
        if not math.isfinite(found.value):
            return None
        if found.value <= 0 or observation.base_lr <= 0:
            return math.inf
        limit = 2 * (1 + self.momentum) / found.value
        if self.nesterov:
            limit /= 1 + 2 * self.momentum
        return self.margin * limit / observation.base_lr
