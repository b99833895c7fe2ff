"""What a replay says, in numbers and words, and what it cannot know."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from cluster.explaining.findings import by_rule
from cluster.replaying.compare import Comparison, updates_of
from cluster.replaying.replay import EARLY
from cluster.views import number_format as show


@dataclass(frozen=True)
class Row:
    """The same of both policies.

    Args:
        label: What.
        recorded: Of the run.
        other: Of the replay.
    """

    label: str
    recorded: str
    other: str


def changes(run: Comparison) -> list[Row]:
    """Return each change of the batch, in order; the label is the epoch of the decision.

    Between them stands where the other policy cannot be known to have kept it.
    """
    recorded = {
        round(one.samples): f"{_step(*one.batch)} {one.rule}"
        for one in run.said
        if one.batch is not None and (one.grows or one.shrinks)
    }
    other = {
        one.samples: f"{_step(one.before.batch, one.after.batch)} {one.rule}" for one in run.moved
    }
    other |= _doubts(run, sorted(recorded.keys() | other.keys()))
    return [
        Row(_epoch(at, run), recorded.get(at, ""), other.get(at, ""))
        for at in sorted(recorded.keys() | other.keys())
    ]


def _doubts(run: Comparison, changed: Sequence[int]) -> dict[int, str]:
    """Return, for the first of the undecidable points between two changes, how many there are."""
    points = [step.moment.samples for step in run.steps if step.undecidable]
    together = groupby(points, key=lambda at: bisect_right(changed, at))
    groups = [list(group) for _, group in together]
    return {group[0]: f"undecidable ({len(group)})" for group in groups}


def totals(run: Comparison) -> list[Row]:
    """Return what the decisions of both come to."""
    grown = [one.rule for one in run.said if one.grows]
    other_grown = [one.rule for one in run.moved if one.after.batch > one.before.batch]
    kept = [one.rule for one in run.said if not one.changes]
    other_kept = [one.decision.rule for one in run.steps if not one.decision.changes]
    last = run.steps[-1].decision
    batch = last.after if run.is_in_force(run.steps[-1]) else last.before
    updates = updates_of(run.steps, run.samples, run.num_train)
    num = sum(step.undecidable for step in run.steps)
    return [
        Row("last batch", _last_batch(run), show.count(batch.batch)),
        Row("updates", show.count(run.updates), show.count(updates)),
        Row("grown", by_rule(grown) or _none(run), by_rule(other_grown) or "never"),
        Row("kept", by_rule(kept) or _none(run), by_rule(other_kept) or "never"),
        Row("undecidable", "", f"{num} of {len(run.steps)} points" if num else "nowhere"),
    ]


def told(run: Comparison) -> list[str]:
    """Return what a reader must know of the numbers, in paragraphs."""
    return [text for text in (_undecidable(run), _limits_of_it(run), _own(run)) if text]


def _undecidable(run: Comparison) -> str:
    points = [step for step in run.steps if step.undecidable]
    if not points:
        return ""
    first, last = (_epoch(step.moment.samples, run) for step in (points[0], points[-1]))
    when = f"at epoch {first}" if first == last else f"from epoch {first} to {last}"
    return (
        f"Undecidable ({when}): the curvature was measured until the question of the recorded "
        "policy was answered, and the interval that it ended with holds the level that the other "
        "one asks about. The batch is shown as kept there; with a full measurement it may have "
        "grown, and all that follows would be otherwise."
    )


def _limits_of_it(run: Comparison) -> str:
    if not run.said:
        words = (
            "The run has decided nothing: the other policy is asked wherever something was "
            "observed or measured. From its first change on"
        )
        return " ".join([words, _GUESS, *_references(run)])
    first = _first_difference(run)
    until = run.samples if first is None else first
    doubtful = any(one.undecidable and one.moment.samples < until for one in run.steps)
    both = "As far as can be decided, both" if doubtful else "Both"
    if first is None:
        return f"{both} decide the same."
    words = f"{both} agree up to epoch {_epoch(first, run)}. From there on"
    return " ".join([words, _GUESS, *_references(run)])


_GUESS = (
    "this is a guess: the signals were measured at the recorded batch and on the weights that came "
    "of it. At other batches the weights, and with them the loss, the noise scale and the "
    "curvature, would have become others; what accuracy the other policy reaches cannot be known "
    "without training."
)


def _references(run: Comparison) -> list[str]:
    measured = [step.moment.heard.curvature for step in run.steps]
    early = any(found is not None and found.stopped in EARLY for found in measured)
    if run.own or not early or run.other.policy.kind not in ("abs", "absa", "hybrid"):
        return []
    return [
        "An eigenvalue from a measurement that ended early is the largest that had been seen by "
        "then, and may be too small as a reference."
    ]


def _own(run: Comparison) -> str:
    if not run.unlike:
        return ""
    return (
        "Careful: asked again, the policy in the run's own job does not decide as recorded (first "
        f"at epoch {_epoch(run.unlike[0].samples, run)}, at {len(run.unlike)} of "
        f"{len(run.moments)} points). The run was resumed with other options, or trained by "
        "another version of absa."
    )


def _first_difference(run: Comparison) -> int | None:
    """Return the samples at which the two part; None if they never do."""
    return next((at for at, recorded, other in _pairs(run) if recorded != other), None)


def _pairs(run: Comparison) -> list[tuple[int, Sequence[float], Sequence[float]]]:
    """Return, where either changes something, what levers both leave."""
    recorded = {
        round(one.samples): [pair[1] for pair in (one.batch, one.lr_scale, one.ratio) if pair]
        for one in run.said
        if one.changes
    }
    other = {
        step.moment.samples: [after.batch, after.lr_scale, after.adversarial_ratio]
        for step in run.steps
        if run.is_in_force(step) and step.decision.changes
        for after in [step.decision.after]
    }
    return [(at, recorded.get(at, []), other.get(at, [])) for at in sorted({*recorded, *other})]


def _last_batch(run: Comparison) -> str:
    batches = [one.batch[1] for one in run.said if one.batch is not None]
    return show.count(batches[-1]) if batches else show.MISSING


def _none(run: Comparison) -> str:
    return "never" if run.said else show.MISSING


def _step(before: float, after: float) -> str:
    return f"{show.count(before)} -> {show.count(after)}"


def _epoch(samples: float, run: Comparison) -> str:
    return f"{samples / run.num_train:.2f}"
