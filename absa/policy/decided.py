"""A decision that is not in force yet, and the memory that comes with it, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from absa.policy.decide import PolicyState
from absa.policy.decision import Decision, Levers
from absa.settings import Settings


@dataclass(frozen=True)
class Decided:
    """What all ranks are told.

    Args:
        decision: What is to be done.
        known: What the policy remembers once it is.
    """

    decision: Decision
    known: PolicyState


def overtaken(decision: Decision, settings: Settings) -> str | None:
    """Return why a decision is not put in force, in plain words; None if it is.

    Args:
        decision: Made before.
        settings: In force now; an operator may have changed them since.
    """
    before, after = decision.before.batch, decision.after.batch
    if settings.hold:
        return "an operator holds the settings"
    if settings.global_batch != before:
        return f"an operator has set the batch to {settings.global_batch}"
    if settings.max_batch is not None and after > max(settings.max_batch, before):
        return f"an operator allows at most {settings.max_batch}"
    return None


def as_values(decided: Decided) -> dict[str, Any]:
    """Return it as plain values."""
    return {"decision": asdict(decided.decision), "known": asdict(decided.known)}


def from_values(values: Mapping[str, Any]) -> Decided:
    """Return what `as_values` was given.

    Raises:
        TypeError: It is of another form.
        KeyError: Something is missing.
    """
    said = values["decision"]
    decision = Decision(
        **{
            **said,
            "before": Levers(**said["before"]),
            "after": Levers(**said["after"]),
            "limited_by": tuple(said["limited_by"]),
        }
    )
    return Decided(decision, PolicyState(**values["known"]))
