"""Noise scale, curvature and patience together."""

from dataclasses import dataclass, replace

from absa.policy.curvature_rule import CurvatureRule
from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.noise_rule import NoiseRule
from absa.policy.observation import Observation
from absa.policy.policy import State
from absa.signals import FallTest


@dataclass(frozen=True)
class Hybrid:
    """The noise scale grows the batch by itself, and bounds what the other two may.

    Far below the noise scale nothing is lost by growing: no other signal is waited for. Far above
    it, an update gains nothing from more samples: neither a fallen eigenvalue nor patience grows
    the batch there. In between they decide.

    Args:
        noise: What the noise scale says by itself.
        curvature: What the eigenvalue and patience say.
        most: They may grow the batch to so many times the noise scale, at least ``noise.ratio``.
    """

    noise: NoiseRule
    curvature: CurvatureRule
    most: float = 4.0

    def step(
        self, state: State, observation: Observation, limits: Limits
    ) -> tuple[State, Proposal]:
        """Propose what the first of them says that wants a change."""
        state = self.curvature.with_reference(state, observation)
        by_noise = self.noise.judge(observation, limits)
        after, by_curvature = self.curvature.step(state, observation, limits)
        ratio = by_curvature.adversarial_ratio
        if by_noise.batch != observation.global_batch:
            grown = self.curvature.after_growth(state, observation)
            return grown, replace(by_noise, adversarial_ratio=ratio)
        if by_curvature.batch == observation.global_batch:
            return after, by_curvature if by_noise.rule == "missing" else by_noise
        bound = self._bound(observation)
        numbers = {**by_curvature.numbers, **by_noise.numbers}
        if bound is not None and by_curvature.batch <= bound:
            return after, replace(by_curvature, numbers=numbers)
        text = f"{by_curvature.reason}, but "
        if bound is None:
            text += "the gradient noise has not been measured"
        else:
            text += f"a batch of {by_curvature.batch} is above {self.most:g} times the noise scale"
        kept = Proposal(observation.global_batch, "bounded", text, numbers)
        return state, kept

    def question(self, state: State) -> FallTest | None:
        """Ask what the curvature's rule asks."""
        return self.curvature.question(state)

    def _bound(self, observation: Observation) -> float | None:
        """Return the largest batch that the noise scale allows the others."""
        noise = observation.noise
        if noise is None:
            return None
        return self.most * noise.least
