"""From an observation to a decision: the policy, then the learning rate, then the limits."""

from dataclasses import dataclass, field, replace

from absa.policy.decision import Decision, Levers, Proposal
from absa.policy.following import Following
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.policy import Policy, State
from absa.policy.rungs import within
from absa.policy.stability import Stability
from absa.policy.warming import Warming
from absa.signals import FallTest

CHANGE = 0.05
"""The learning rate alone is changed where it is to differ by more: each change is told to all
ranks and stands in the journal. Pollux takes the same for its batch."""


@dataclass(frozen=True)
class PolicyState:
    """What the policy of a run remembers; part of the state tree.

    Args:
        kind: Of the policy: the memory of another one means nothing to this one.
        state: Its memory.
    """

    kind: str = ""
    state: State = field(default_factory=dict)


@dataclass(frozen=True)
class Decider:
    """Decides; pure, like all that it consists of.

    Args:
        kind: Name of the policy.
        policy: How large the batch should be.
        following: How the learning rate follows.
        stability: What it may not exceed when it grows; None: nothing.
        warming: How the batch grows before the policy decides; None: not.
        ramp_updates: Over how many updates the learning rate climbs after a growth.
    """

    kind: str
    policy: Policy
    following: Following
    stability: Stability | None = None
    warming: Warming | None = None
    ramp_updates: int = 0

    def decide(
        self, known: PolicyState, observation: Observation, limits: Limits
    ) -> tuple[PolicyState, Decision]:
        """Return what is to be done, and what the policy remembers once that is in force.

        Args:
            known: What the last decision that is in force has left.
            observation: What is known now.
            limits: What is not to be exceeded.
        """
        state = known.state if known.kind == self.kind else {}
        if limits.hold:
            kept = Proposal(observation.global_batch, "hold", "an operator holds the settings")
            return known, _as_it_is(kept, observation)
        if self.warming is not None and not self.warming.is_over(observation, limits):
            after, proposal = state, self.warming.propose(observation, limits)
        else:
            after, proposal = self.policy.step(state, observation, limits)
        return PolicyState(self.kind, after), self._in_full(proposal, observation, limits)

    def question(self, known: PolicyState) -> FallTest | None:
        """Return what the next measurement of curvature is for; None if its value is wanted."""
        asked = self.policy.question(known.state if known.kind == self.kind else {})
        # The guard needs the value, whatever the answer is.
        return asked if asked is None or self.stability is None else replace(asked, exact=True)

    def _in_full(self, proposal: Proposal, observation: Observation, limits: Limits) -> Decision:
        """Return the decision that comes of a proposal."""
        batch, limited = _limited(proposal, observation, limits)
        scale, bound = self._scale(batch, proposal, observation)
        before, after = observation.levers, Levers(batch, scale, proposal.adversarial_ratio)
        rule, reason = _said(proposal, before, after)
        return Decision(
            samples=observation.samples,
            before=before,
            after=after,
            rule=rule,
            reason=reason,
            numbers=proposal.numbers,
            limited_by=(*limited, *bound),
        )

    def _scale(
        self, batch: int, proposal: Proposal, observation: Observation
    ) -> tuple[float, tuple[str, ...]]:
        """Return the factor of the learning rate, and what bounds it."""
        before, stays = observation.lr_scale, batch == observation.global_batch
        noise = observation.noise
        if stays and self.following.rule == "gain" and (noise is None or noise.value is None):
            return before, ()  # a lower end comes and goes: it is no reason to move
        if proposal.lr_factor is not None:
            wanted: float | None = before * proposal.lr_factor
        else:
            wanted = self.following.target(batch, observation)
        if wanted is None:
            return before, ("the learning rate stays: the gradient noise has not been measured",)
        bound: tuple[str, ...] = ()
        if self.stability is not None and wanted > before:
            known = self.stability.highest_scale(observation)
            if known is None:
                return before, ("the learning rate stays: the curvature is not known",)
            highest = max(known, before)
            if wanted > highest:
                text = (
                    f"the curvature allows the learning rate {highest:.4g} times, not {wanted:.4g}"
                )
                wanted, bound = highest, (text,)
        if stays and abs(wanted / before - 1) < CHANGE:
            return before, bound
        return wanted, bound


def _said(proposal: Proposal, before: Levers, after: Levers) -> tuple[str, str]:
    """Return rule and reason: the policy's, unless what changes is not the batch."""
    if after.batch != before.batch or after == before:
        return proposal.rule, proposal.reason
    if after.lr_scale != before.lr_scale:
        text = f"the learning rate follows: {before.lr_scale:.4g} to {after.lr_scale:.4g} times"
        return "rate", text
    share = 100 * after.adversarial_ratio
    return "share", f"{share:.3g} % of each batch are to be perturbed"


def _as_it_is(proposal: Proposal, observation: Observation) -> Decision:
    return Decision(
        samples=observation.samples,
        before=observation.levers,
        after=observation.levers,
        rule=proposal.rule,
        reason=proposal.reason,
    )


def _limited(
    proposal: Proposal, observation: Observation, limits: Limits
) -> tuple[int, tuple[str, ...]]:
    """Return the batch that is allowed, and what bounds it."""
    if proposal.batch == observation.global_batch:
        return proposal.batch, ()
    batch = within(proposal.batch, limits)
    if proposal.batch > limits.max_batch:
        return batch, (f"the largest batch is {limits.max_batch}",)
    if proposal.batch < limits.min_batch:
        return batch, (f"the smallest batch is {limits.min_batch}",)
    return batch, ()
