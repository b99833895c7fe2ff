"""A batch that grows from the start, before any signal is trusted."""

from dataclasses import dataclass

from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.rungs import next_up


@dataclass(frozen=True)
class Warming:
    """Grows the batch, and with it the learning rate, in equal ratios over the first epochs.

    Args:
        initial: The batch at first, in samples.
        to_batch: The batch at the end of it, > ``initial``.
        epochs: How long that takes, > 0.
        factor: Of one growth, > 1.

    Source: Yao et al. 2018, arXiv:1810.01021 (its largest savings came with a warm-up of both).
    """

    initial: int
    to_batch: int
    epochs: float
    factor: float = 2.0

    def is_over(self, observation: Observation, limits: Limits) -> bool:
        """Return whether the policy decides from here on: no larger batch is to come."""
        return self._next(observation.global_batch, limits) <= observation.global_batch

    def propose(self, observation: Observation, limits: Limits) -> Proposal:
        """Return the batch of this point of the warm-up."""
        before = observation.global_batch
        share = min(observation.epoch / self.epochs, 1.0)
        due = self.initial * (self.to_batch / self.initial) ** share
        numbers = {"epoch": observation.epoch, "due": due}
        batch = self._next(before, limits)
        if due < batch * (1 - 1e-9):
            return Proposal(before, "keep", "the warm-up of the batch goes on", numbers)
        reason = f"warm-up to a batch of {self.to_batch} at epoch {self.epochs:g}"
        return Proposal(batch, "warm-up", reason, numbers)

    def _next(self, batch: int, limits: Limits) -> int:
        return min(next_up(batch, self.factor, limits), self.to_batch)
