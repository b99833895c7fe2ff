"""Growth of the batch in place of the decay of the learning rate.

With the linear scaling rule the learning rate then stays where it was, which is Smith et al.'s
rule; with the square root the batch doubles and the learning rate falls by sqrt(2) where the
schedule halves it, which is Seesaw.

Source: Smith et al. 2018, arXiv:1711.00489, section 3 (a schedule lowers the scale of the noise,
learning rate / batch); Meterez et al. 2025, arXiv:2510.14717 (Seesaw).
"""

import math
from dataclasses import dataclass

from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.policy import State
from absa.signals import FallTest


@dataclass(frozen=True)
class InsteadOfDecay:
    """Grows by what the schedule has taken from the learning rate.

    Args:
        initial: The batch at first, in samples.
        factor: It grows as soon as it would grow by so much; > 1.
    """

    initial: int
    factor: float = 2.0

    def step(
        self, state: State, observation: Observation, limits: Limits
    ) -> tuple[State, Proposal]:
        """Propose the batch that takes the place of the decay so far."""
        decay, before = observation.decay, observation.global_batch
        numbers = {"decay": decay}
        due = min(self.initial / decay if decay > 0 else math.inf, float(limits.max_batch))
        if before >= limits.max_batch:
            return state, Proposal(before, "keep", "the batch is as large as it may be", numbers)
        if due < before * self.factor * (1 - 1e-9) and due < limits.max_batch:
            return state, Proposal(before, "keep", "no decay is due", numbers)
        reason = f"in place of a decay of the learning rate to {decay:.3g} of its peak"
        return state, Proposal(round(due), "decay", reason, numbers)

    def question(self, state: State) -> FallTest | None:
        """Ask nothing."""
        return None
