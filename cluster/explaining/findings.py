"""What the decisions of a run come to, in numbers."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from cluster.explaining.count_updates import count_updates
from cluster.explaining.read import Explained
from cluster.views import number_format as show


@dataclass(frozen=True)
class Finding:
    """One number with its label and a remark."""

    label: str
    value: str
    remark: str


def findings(run: Explained) -> list[Finding]:
    """Return the summary of a run."""
    rows = [
        Finding("updates", show.count(run.updates), _saved(run)),
        Finding("batch", *_batch(run)),
        Finding("grown", _times(sum(one.grows for one in run.decisions)), grown_by(run)),
    ]
    shrunk = sum(one.shrinks for one in run.decisions)
    if shrunk:
        rows.append(Finding("made smaller", _times(shrunk), ""))
    limits = Counter(limit for one in run.decisions if one.changes for limit in one.limits)
    if limits:
        rows.append(Finding("held back", _times(sum(limits.values())), ""))
    return [*rows, Finding("trained for", show.duration(run.seconds), _epochs(run))]


def by_rule(rules: Iterable[str]) -> str:
    """Return how often each rule spoke, the most frequent first."""
    return ", ".join(f"{rule} {num}" for rule, num in Counter(rules).most_common())


def grown_by(run: Explained) -> str:
    """Return which rules grew the batch, how often."""
    rules = by_rule(one.rule for one in run.decisions if one.grows)
    return f"by {rules}" if rules else ""


def _saved(run: Explained) -> str:
    if run.num_train is None or not run.batches or run.updates <= 0:
        return ""
    first = run.batches[0]
    would = count_updates([(0.0, first)], run.samples, run.num_train)
    if all(batch == first for batch in run.batches):
        return f"all at a batch of {show.count(first)}"
    return f"{would / run.updates:.2f} times fewer than {show.count(would)} at {show.count(first)}"


def _batch(run: Explained) -> tuple[str, str]:
    if not run.batches:
        return show.MISSING, "nothing was observed yet"
    largest = max(run.batches)
    now = show.count(run.batches[-1])
    return now, "" if run.batches[-1] == largest else f"at most {show.count(largest)}"


def _times(num: int) -> str:
    return f"{num} x"


def _epochs(run: Explained) -> str:
    samples = f"{show.count(run.samples)} samples"
    if run.num_train is None:
        return samples
    return f"{show.total_epochs(run.samples / run.num_train)} epochs, {samples}"
