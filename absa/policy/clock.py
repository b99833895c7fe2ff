"""Growth by the clock: the policy that the others have to beat."""

import math
from dataclasses import dataclass

from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.policy import State
from absa.policy.rungs import next_up, within
from absa.signals import FallTest


@dataclass(frozen=True)
class Clock:
    """Multiplies the batch every so many epochs, whatever the signals say.

    Args:
        initial: The batch at first, in samples.
        every_epochs: Epochs between two growths, > 0.
        factor: Of growth, > 1.
    """

    initial: int
    every_epochs: float
    factor: float = 2.0

    def step(
        self, state: State, observation: Observation, limits: Limits
    ) -> tuple[State, Proposal]:
        """Propose the batch that belongs to this epoch; one that is larger already is kept."""
        growths = int(observation.epoch / self.every_epochs)
        limit = float(max(limits.max_batch, observation.global_batch))
        # Far along, the power would leave the range of floats before the limit cuts it.
        most = math.ceil(math.log(max(limit / self.initial, 1.0), self.factor))
        due = min(self.initial * self.factor ** min(growths, most), limit)
        numbers = {"epoch": observation.epoch, "growths": float(growths)}
        before = observation.global_batch
        if within(due, limits) <= before:
            return state, Proposal(before, "keep", "not yet due", numbers)
        reason = f"growth {growths} was due at epoch {growths * self.every_epochs:g}"
        # After a hold there may be several to make up for: one at a time.
        return state, Proposal(
            min(round(due), next_up(before, self.factor, limits)), "clock", reason, numbers
        )

    def question(self, state: State) -> FallTest | None:
        """Ask nothing."""
        return None
