"""A decision as its record says it; what is missing or of another form is left out."""

from dataclasses import dataclass

from cluster.report.history import Placed
from cluster.views import number_format as show
from cluster.views.decision_note import lever_pair
from cluster.views.fields import number, printable, text


@dataclass(frozen=True)
class Said:
    """A decision.

    Args:
        samples: At which it was made.
        update: After which it is in force.
        batch: Before and after, in samples; None: not recorded.
        lr_scale: What the learning rate is multiplied with, before and after.
        ratio: Share of the batch that is perturbed, before and after.
        rule: Which rule of the policy spoke.
        reason: In words.
        limits: What kept it from doing more.
    """

    samples: float
    update: float
    batch: tuple[float, float] | None
    lr_scale: tuple[float, float] | None
    ratio: tuple[float, float] | None
    rule: str
    reason: str
    limits: tuple[str, ...]

    @property
    def changes(self) -> bool:
        """Whether anything changes."""
        return any(_moves(pair) for pair in (self.batch, self.lr_scale, self.ratio))

    @property
    def moves_rate_alone(self) -> bool:
        """Whether the learning rate follows a signal and nothing else changes."""
        return _moves(self.lr_scale) and not _moves(self.batch) and not _moves(self.ratio)

    @property
    def grows(self) -> bool:
        """Whether the batch becomes larger."""
        return self.batch is not None and self.batch[1] > self.batch[0]

    @property
    def shrinks(self) -> bool:
        """Whether the batch becomes smaller."""
        return self.batch is not None and self.batch[1] < self.batch[0]

    def movements(self) -> list[str]:
        """Return what changes, each in words."""
        words = []
        if self.batch is not None and _moves(self.batch):
            before, after = map(show.count, self.batch)
            words.append(f"batch {before} -> {after}")
        if self.lr_scale is not None and _moves(self.lr_scale):
            before, after = (f"{scale:.3g}" for scale in self.lr_scale)
            words.append(f"learning rate x{before} -> x{after}")
        if self.ratio is not None and _moves(self.ratio):
            before, after = (show.percent(share, 1) for share in self.ratio)
            words.append(f"adversarial share {before} -> {after}")
        return words


def said(one: Placed) -> Said:
    """Read the record of a decision.

    Args:
        one: With its place in the run.
    """
    record, limits = one.record, one.record.get("limited_by")
    at = number(record, "decided_at")
    return Said(
        samples=one.samples if at is None else at,
        update=number(record, "update") or 0.0,
        batch=lever_pair(record, "global_batch"),
        lr_scale=lever_pair(record, "lr_scale"),
        ratio=lever_pair(record, "adversarial_ratio"),
        rule=text(record, "rule") or "no rule",
        reason=text(record, "reason") or "",
        limits=tuple(printable(str(limit)) for limit in limits) if isinstance(limits, list) else (),
    )


def _moves(pair: tuple[float, float] | None) -> bool:
    return pair is not None and pair[0] != pair[1]
