"""The one seam behind which every policy stands."""

from collections.abc import Mapping
from typing import Protocol

from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.signals import FallTest

State = Mapping[str, float | int | None]
"""What a policy remembers: flat, JSON, part of the state tree. It changes seldom, because every
change is told to all ranks: what can be computed from an observation is not in it."""


class Policy(Protocol):
    """Decides how large the batch should be. Pure: all that evolves is in the state."""

    def step(
        self, state: State, observation: Observation, limits: Limits
    ) -> tuple[State, Proposal]:
        """Propose.

        Args:
            state: What the last step returned, with the decision it led to in force; empty at
                first.
            observation: What is known now; seen again with the state that came of it, nothing is
                counted twice.
            limits: What cannot be exceeded.

        Returns:
            The state from now on, and what is proposed.
        """
        ...

    def question(self, state: State) -> FallTest | None:
        """Return what the next measurement of curvature is for; None if its value is wanted."""
        ...
