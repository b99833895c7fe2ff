"""When a run ends: the ``stop`` section of a job and the rule that reads it."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from absa.config import Section

StopReason = Literal["epochs", "updates", "samples", "time", "target"]


class StopConfig(Section):
    """The run ends at whichever limit is reached first; at least one is needed."""

    epochs: float | None = Field(None, gt=0, le=1e6)
    updates: int | None = Field(None, gt=0)
    samples: int | None = Field(None, gt=0)
    time_s: float | None = Field(None, gt=0)
    """Training time, checkpoints and evaluations included, start-up excluded."""
    target_accuracy: float | None = Field(None, gt=0, le=1)
    """End as soon as an evaluation reaches this accuracy."""


@dataclass(frozen=True)
class Reached:
    """How far a run has come."""

    samples: int
    updates: int
    time_s: float
    accuracy: float | None


def total_samples(stop: StopConfig, num_train: int) -> int | None:
    """Return the samples after which the run ends at the latest, or None if that is not known."""
    limits = [
        None if stop.epochs is None else round(stop.epochs * num_train),
        stop.samples,
    ]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def stop_reason(stop: StopConfig, reached: Reached, num_train: int) -> StopReason | None:
    """Return the first limit that is reached, or None while the run goes on."""
    rules: list[tuple[StopReason, float | None, float | None]] = [
        ("target", stop.target_accuracy, reached.accuracy),
        (
            "epochs",
            None if stop.epochs is None else round(stop.epochs * num_train),
            reached.samples,
        ),
        ("samples", stop.samples, reached.samples),
        ("updates", stop.updates, reached.updates),
        ("time", stop.time_s, reached.time_s),
    ]
    for reason, limit, value in rules:
        if limit is not None and value is not None and value >= limit:
            return reason
    return None
