"""What the ranks must know alike, beside the state tree, to act alike from here on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from absa.boundary import Command
from absa.update.scalars import Flags

EndReason = Literal[
    "epochs", "updates", "samples", "time", "target", "interrupted", "resized", "diverged"
]


@dataclass(frozen=True)
class Standing:
    """Where in the loop a rank stands.

    Args:
        position: Steps done since the lineage began: an update, a command put in force, an
            evaluation, a finished boundary. Every rank does the same ones in the same order, so
            whoever has the higher position has done all that the others have.
        boundary: Samples consumed before the update whose boundary is not finished yet, or None.
        asked: Flags that have arrived for the next boundary.
        doing: Flags that this boundary deals with.
        command: The command that this boundary has put in force, or None.
        ending: Why the run ends, once it does.
        metrics: Of the last evaluation.
        evaluated_at: Samples after which the model was evaluated last.
        improved_at: Samples after which it was the best so far.
        measured_at: Samples after which its curvature was measured last.
        decided_at: Samples after which the policy was asked last.
        saved_at: Samples after which it was saved last.
        saved_why: Why it was, as in `absa.outside.Saver.save`.
        skipped_because: Why the last update that was skipped was.
    """

    position: int = 0
    boundary: int | None = None
    asked: Flags = field(default_factory=Flags)
    doing: Flags = field(default_factory=Flags)
    command: Command | None = None
    ending: EndReason | None = None
    metrics: dict[str, float] | None = None
    evaluated_at: int | None = None
    improved_at: int | None = None
    measured_at: int | None = None
    decided_at: int | None = None
    saved_at: int | None = None
    saved_why: str = ""
    skipped_because: str | None = None


def as_values(standing: Standing) -> dict[str, Any]:
    """Return it as plain values, to travel with the state tree."""
    return asdict(standing)


def from_values(values: Mapping[str, Any]) -> Standing:
    """Return what `as_values` wrote."""
    command = None if values["command"] is None else Command(**values["command"])
    flags = {name: Flags(**values[name]) for name in ("asked", "doing")}
    return Standing(**{**values, **flags, "command": command})
