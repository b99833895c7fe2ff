"""ABS: the batch grows when the largest Hessian eigenvalue has fallen, or after long enough."""

import math
from dataclasses import dataclass, replace

from absa.policy.decision import Proposal
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.policy import State
from absa.policy.rungs import next_up
from absa.signals import FallTest


@dataclass(frozen=True)
class CurvatureRule:
    """Grows by the eigenvalue, or by patience.

    The eigenvalue decides by its interval: only what is certain, but for the stated probability,
    counts as fallen. What the authors' code does and is not done here: a negative eigenvalue of
    large magnitude counts as fallen, and so does one that ten cold steps have underestimated.

    Args:
        alpha: The eigenvalue has fallen when it is below the reference / alpha; > 1.
        factor: Of growth (beta), > 1.
        patience_epochs: The batch grows after so many without growth (kappa), > 0.
        reference_epochs: The first reference is measured after so many, >= 0. It decides
            everything about this rule: early in training the eigenvalue falls fast.
        ratio: Share of each batch that is perturbed adversarially at first; divided by ``factor``
            at each growth. 0: the ABS of the paper without its last A.
        ratio_until: Share of the training after which nothing is perturbed any more (tau).

    Source: Yao et al. 2018, arXiv:1810.01021; constants as in the authors' code (kappa is 10 of 90
    epochs there, the reference that of the first epoch).
    """

    alpha: float = 2.0
    factor: float = 2.0
    patience_epochs: float = 10.0
    reference_epochs: float = 1.0
    ratio: float = 0.0
    ratio_until: float = 0.5

    def step(
        self, state: State, observation: Observation, limits: Limits
    ) -> tuple[State, Proposal]:
        """Propose a growth when the eigenvalue has fallen or patience is at an end."""
        state = self.with_reference(state, observation)
        before = observation.global_batch
        batch = next_up(before, self.factor, limits)
        if batch == before:
            keep = Proposal(before, "keep", "the batch is as large as it may be")
            return state, self._perturbed(keep, state, observation, limits)
        rule, reason, numbers = self._judge(state, observation)
        if rule not in ("eigenvalue", "patience"):
            keep = Proposal(before, rule, reason, numbers)
            return state, self._perturbed(keep, state, observation, limits)
        grown = Proposal(batch, rule, reason, numbers)
        state = self.after_growth(state, observation, by_eigenvalue=rule == "eigenvalue")
        return state, self._perturbed(grown, state, observation, limits)

    def after_growth(
        self, state: State, observation: Observation, *, by_eigenvalue: bool = False
    ) -> State:
        """Return the state once the batch grows; every growth begins from a reference of its own.

        That is the value that has fallen, or else the next one that is measured.

        Args:
            state: Before.
            observation: What led to the growth.
            by_eigenvalue: Whether a fallen eigenvalue did.
        """
        found = observation.curvature
        growths = 1 + int(state.get("growths") or 0)
        reference = found.value if by_eigenvalue and found is not None else None
        asked = {"reference": reference, "reference_after": observation.samples}
        return {**state, **asked, "growths": growths}

    def question(self, state: State) -> FallTest | None:
        """Ask whether the eigenvalue has fallen below the reference; at first for its value."""
        reference = state.get("reference")
        return None if reference is None else FallTest(float(reference), self.alpha)

    def with_reference(self, state: State, observation: Observation) -> State:
        """Return the state with a reference, if there was none and one has been measured."""
        found, at = observation.curvature, observation.curvature_at
        if state.get("reference") is not None or found is None or at is None:
            return state
        after = state.get("reference_after")
        first = self.reference_epochs * observation.num_train
        late_enough = at >= first if after is None else at > after
        exact = found.stopped != "not_fallen"  # such a value is only a lower bound
        if not late_enough or not exact or not 0 < found.value < math.inf:
            return state
        return {**state, "reference": found.value}

    def _judge(self, state: State, observation: Observation) -> tuple[str, str, dict[str, float]]:
        """Return which rule speaks, why, and its numbers."""
        waited = (observation.samples - observation.batch_since) / observation.num_train
        numbers = {"epochs_since_growth": waited, "patience_epochs": self.patience_epochs}
        rule, reason, compared = self._eigenvalue(state, observation)
        numbers |= compared
        if rule != "eigenvalue" and waited >= self.patience_epochs:
            return "patience", f"{waited:.3g} epochs have passed without growth", numbers
        return rule, reason, numbers

    def _eigenvalue(
        self, state: State, observation: Observation
    ) -> tuple[str, str, dict[str, float]]:
        found, reference = observation.curvature, state.get("reference")
        if found is None or not math.isfinite(found.value):
            return "missing", "the curvature has not been measured", {}
        if reference is None:
            return "missing", "the reference of the curvature has not been measured", {}
        level = float(reference) / self.alpha
        numbers = {"eigenvalue": found.value, "reference": float(reference), "level": level}
        if math.isfinite(found.upper):
            numbers["eigenvalue_upper"] = found.upper
        if self._is_stale(observation):
            return "stale", "the last measurement of the curvature is too old", numbers
        if found.upper <= level:
            fell = f"the largest eigenvalue has fallen from {reference:.4g} to {found.value:.4g}"
            return "eigenvalue", fell, numbers
        if found.lower > level:
            return "keep", f"the largest eigenvalue is above {level:.4g}", numbers
        unknown = f"whether the largest eigenvalue has fallen below {level:.4g} is not certain"
        return "undecided", unknown, numbers

    def _is_stale(self, observation: Observation) -> bool:
        assert observation.curvature_at is not None
        age = observation.samples - observation.curvature_at
        return age > self.patience_epochs * observation.num_train

    def _perturbed(
        self, proposal: Proposal, state: State, observation: Observation, limits: Limits
    ) -> Proposal:
        """Return the proposal with the share that is to be perturbed."""
        growths, progress = int(state.get("growths") or 0), observation.progress
        over = proposal.batch >= limits.final_batch or (
            progress is not None and progress >= self.ratio_until
        )
        ratio = 0.0 if over else self.ratio / self.factor**growths
        return replace(proposal, adversarial_ratio=ratio)
