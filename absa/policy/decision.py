"""What comes of an observation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Proposal:
    """What a policy wants, before limits and the rule of the learning rate.

    Args:
        batch: The global batch, in samples.
        rule: Which of its rules says so: one word, such as "noise" or "patience"; "keep", "missing"
            (a signal was not there) or "undecided" where nothing is to change.
        reason: The same in plain words, with numbers.
        numbers: What was compared, by name.
        adversarial_ratio: Share of each batch to perturb.
        lr_factor: What the learning rate is to be multiplied with, where the policy and not the
            scaling rule says so; None: by the scaling rule.
    """

    batch: int
    rule: str
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    adversarial_ratio: float = 0.0
    lr_factor: float | None = None


@dataclass(frozen=True)
class Levers:
    """What a decision can move.

    Args:
        batch: Global batch, in samples.
        lr_scale: What the learning rate of the schedule is multiplied with.
        adversarial_ratio: Share of each batch that is perturbed, in [0, 1].
    """

    batch: int
    lr_scale: float
    adversarial_ratio: float


@dataclass(frozen=True)
class Decision:
    """What is done.

    Args:
        samples: Samples consumed when it was made: with the lineage they name a decision.
        before: Where the levers stood.
        after: Where they stand from now on.
        rule: As in `Proposal`; "rate" where the learning rate alone changes, "share" where the
            share that is perturbed does.
        reason: In plain words.
        numbers: What was compared, by name.
        limited_by: What kept it from doing more, each in plain words.
    """

    samples: int
    before: Levers
    after: Levers
    rule: str
    reason: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    limited_by: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return self.before != self.after


def as_record(decision: Decision) -> dict[str, Any]:
    """Return a decision as the journal has it; see `absa.events`."""
    before, after = decision.before, decision.after
    return {
        "rule": decision.rule,
        "reason": decision.reason,
        "numbers": dict(decision.numbers),
        "limited_by": list(decision.limited_by),
        "decided_at": decision.samples,
        "global_batch": [before.batch, after.batch],
        "lr_scale": [before.lr_scale, after.lr_scale],
        "adversarial_ratio": [before.adversarial_ratio, after.adversarial_ratio],
    }
