"""A batch that follows a given course: the control to a policy that reads signals."""

import random
from dataclasses import dataclass
from itertools import accumulate, pairwise

from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.policy import State
from absa.signals import FallTest
from benchmarks.fewer_updates.outcome import Outcome

Course = tuple[tuple[int, int], ...]
"""Samples before each growth, ascending, and the batch from there on."""


@dataclass(frozen=True)
class Replayed:
    """Grows the batch as it is told.

    Args:
        course: When, and to what.
    """

    course: Course

    def step(
        self, state: State, observation: Observation, limits: Limits
    ) -> tuple[State, Proposal]:
        """Propose the batch of the last growth that is due."""
        due = [batch for samples, batch in self.course if samples <= observation.samples]
        batch = due[-1] if due else observation.global_batch
        if batch == observation.global_batch:
            return state, Proposal(batch, "keep", "nothing is due")
        return state, Proposal(batch, "replayed", f"growth {len(due)} was due")

    def question(self, state: State) -> FallTest | None:
        """Ask nothing."""
        return None


def shuffled(outcome: Outcome, seed: int) -> Course:
    """Return a run's growths with the waits before them in another order.

    So growths have the same number and sizes, and the last one comes when it came, but when the
    others come has nothing to do with signals any more.

    Args:
        outcome: Of the run.
        seed: Of the order.
    """
    growths = [
        # What is decided at a boundary is in force one update later.
        (after.samples - before.batch, after.batch)
        for before, after in pairwise(outcome.stretches)
        if after.batch != before.batch
    ]
    waits = [after - before for before, after in pairwise([0, *(s for s, _ in growths)])]
    random.Random(seed).shuffle(waits)
    return tuple(zip(accumulate(waits), (batch for _, batch in growths), strict=True))
