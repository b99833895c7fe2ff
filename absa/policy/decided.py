"""A decision that is not in force yet, and the memory that comes with it, as plain values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from absa.policy.decide import PolicyState
from absa.policy.decision import Decision, Levers


@dataclass(frozen=True)
class Decided:
    """What all ranks are told.

    Args:
        decision: What is to be done.
        known: What the policy remembers once it is.
    """

    decision: Decision
    known: PolicyState


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
