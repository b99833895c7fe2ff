"""The batch stays as it is."""

from dataclasses import dataclass

from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.policy import State
from absa.signals import FallTest


@dataclass(frozen=True)
class Fixed:
    """Keeps the batch."""

    def step(
        self, state: State, observation: Observation, limits: Limits
    ) -> tuple[State, Proposal]:
        """Propose the batch that there is."""
        return state, Proposal(observation.global_batch, "keep", "the batch is fixed")

    def question(self, state: State) -> FallTest | None:
        """Ask nothing."""
        return None
