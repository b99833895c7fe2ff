"""What is kept of a run: enough for every table and plot, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from absa.events import Record

CHANCE = 0.1
"""Accuracy of a guess among ten classes: what a run that diverged is counted with."""
_MOST_POINTS = 200
"""Of a curve: more cannot be seen."""


@dataclass(frozen=True)
class Stretch:
    """A part of a run with one batch and one share of perturbed samples.

    Args:
        samples: Before it.
        updates: Before it.
        batch: Of each of its updates.
        ratio: Share of its samples that were perturbed.
        rule: Of the policy's, by which it began; "" at the start.
        reason: The same in plain words.
    """

    samples: int
    updates: int
    batch: int
    ratio: float
    rule: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Measured:
    """One measurement of the largest eigenvalue."""

    samples: int
    value: float | None
    num_samples: int
    num_products: int


@dataclass(frozen=True)
class Noise:
    """The gradient noise scale at one point; ``value`` is None where only a bound is known."""

    samples: int
    value: float | None
    lower: float | None


@dataclass(frozen=True)
class Outcome:
    """A run.

    Args:
        updates: That were applied.
        samples: That they took.
        accuracy: On the test images, at the end.
        seconds: Of training, signals and attacks included.
        diverged: It ended early, by updates that were not finite.
        stretches: In order; at least one.
        eigenvalues: In order.
        noise: In order, thinned out.
        probe_updates: One in so many updates of a single batch-norm group had a probe; None: none.
    """

    updates: int
    samples: int
    accuracy: float
    seconds: float
    diverged: bool
    stretches: tuple[Stretch, ...]
    eigenvalues: tuple[Measured, ...] = ()
    noise: tuple[Noise, ...] = ()
    probe_updates: int | None = None

    @property
    def growths(self) -> tuple[Stretch, ...]:
        """The stretches that began with another batch."""
        pairs = pairwise(self.stretches)
        return tuple(after for before, after in pairs if after.batch != before.batch)


def outcome_of(records: Sequence[Record], start: Stretch, probe_updates: int | None) -> Outcome:
    """Return what the records of a run say.

    Args:
        records: All of them.
        start: How it began.
        probe_updates: See `Outcome`.
    """
    (ended,) = (r for r in records if r["event"] == "run_ended")
    diverged = ended["reason"] == "diverged"
    observed = [r for r in records if r["event"] == "observation" and "noise_scale" in r]
    step = -(-len(observed) // _MOST_POINTS) or 1
    return Outcome(
        updates=ended["update"],
        samples=ended["samples"],
        accuracy=CHANCE if diverged else float(ended["metrics"]["accuracy"]),
        seconds=ended["seconds"],
        diverged=diverged,
        stretches=(start, *(_stretch(r) for r in records if _changes(r))),
        eigenvalues=tuple(
            Measured(r["samples"], r["value"], r["num_samples"], r["num_products"])
            for r in records
            if r["event"] == "curvature"
        ),
        noise=tuple(
            Noise(r["samples"], r["noise_scale"], r["noise_lower"]) for r in observed[::step]
        ),
        probe_updates=probe_updates,
    )


def _changes(record: Record) -> bool:
    """Return whether a record is of a decision that changed the batch or the share."""
    if record["event"] != "decision":
        return False
    return any(len(set(record[name])) > 1 for name in ("global_batch", "adversarial_ratio"))


def _stretch(record: Record) -> Stretch:
    return Stretch(
        record["samples"],
        record["update"],
        record["global_batch"][1],
        record["adversarial_ratio"][1],
        record["rule"],
        record["reason"],
    )


def as_values(outcome: Outcome) -> dict[str, Any]:
    """Return it as plain values."""
    return asdict(outcome)


def from_values(values: Mapping[str, Any]) -> Outcome:
    """Return what `as_values` was given.

    Raises:
        TypeError: It is of another version.
    """
    kinds = {"stretches": Stretch, "eigenvalues": Measured, "noise": Noise}
    parts = {name: tuple(kind(**v) for v in values[name]) for name, kind in kinds.items()}
    return Outcome(**{**values, **parts})
