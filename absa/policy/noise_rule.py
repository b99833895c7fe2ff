"""The batch follows the gradient noise scale."""

import math
from dataclasses import dataclass

from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.policy import State
from absa.policy.rungs import next_down, next_up
from absa.signals import FallTest, NoiseScale


@dataclass(frozen=True)
class NoiseRule:
    """Grows while a larger batch is certainly not above ``ratio`` times the noise scale.

    It looks at the ends of the interval and never at the estimate: a gradient that is not resolved
    has a lower end too. Growth needs a whole rung of room and shrinking a whole rung of excess, so
    that a noise scale which wanders between the two changes nothing.

    Args:
        ratio: Batch / noise scale to aim at, > 0. At 1 an update makes half the progress that it
            would make without noise, from twice the samples.
        factor: Of growth, > 1.
        shrinks: Whether the batch may become smaller again.

    Source: McCandlish et al. 2018, arXiv:1812.06162, section 2.2 and appendix D.
    """

    ratio: float = 1.0
    factor: float = 2.0
    shrinks: bool = False

    def step(
        self, state: State, observation: Observation, limits: Limits
    ) -> tuple[State, Proposal]:
        """Propose the next rung up or down."""
        return state, self.judge(observation, limits)

    def question(self, state: State) -> FallTest | None:
        """Ask nothing."""
        return None

    def judge(self, observation: Observation, limits: Limits) -> Proposal:
        """Return what the noise scale says of the batch.

        Args:
            observation: What is known.
            limits: What is allowed.
        """
        batch, noise = observation.global_batch, observation.noise
        if noise is None:
            return Proposal(batch, "missing", "the gradient noise has not been measured")
        numbers = numbers_of(noise)
        up, down = next_up(batch, self.factor, limits), next_down(batch, self.factor, limits)
        lower, upper = self.ratio * noise.lower, self.ratio * noise.upper
        if up > batch and up <= lower:
            return Proposal(up, "noise", f"the noise scale is at least {noise.lower:.4g}", numbers)
        if self.shrinks and down < batch and upper < down:
            text = f"the noise scale is at most {noise.upper:.4g}"
            return Proposal(down, "noise", text, numbers)
        text = f"the noise scale is {_said(noise)}: a batch of {up} may be above it"
        if up == batch:
            text = "the batch is as large as it may be"
        return Proposal(batch, "keep", text, numbers)


def numbers_of(noise: NoiseScale) -> dict[str, float]:
    """Return the finite numbers of a noise scale, by name."""
    named = {
        "noise_scale": math.nan if noise.value is None else noise.value,
        "noise_lower": noise.lower,
        "noise_upper": noise.upper,
    }
    return {name: number for name, number in named.items() if math.isfinite(number)}


def _said(noise: NoiseScale) -> str:
    if not math.isfinite(noise.upper):
        return f"at least {noise.lower:.4g}"
    return f"{noise.lower:.4g} to {noise.upper:.4g}"
