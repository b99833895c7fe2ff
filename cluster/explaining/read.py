"""From a run's folder to what there is to explain."""

from collections.abc import Sequence
from dataclasses import dataclass

from absa.errors import CheckpointError
from absa.journal import read_journal
from absa.run_folder import RunFolder
from cluster.explaining.decided import Said, said
from cluster.explaining.story import Chapter, tell
from cluster.report.history import Placed, place, survivors
from cluster.views.fields import number, text
from cluster.views.note import stop_words


@dataclass(frozen=True, eq=False)
class Explained:
    """A run and its decisions.

    Args:
        name: Of the run.
        policy: Its kind, as it was last; None: not recorded.
        state: Whether it ended, and why.
        num_train: Samples of an epoch; None: not recorded.
        chapters: What is told.
        decisions: Those that lead to the weights at the end.
        batches: Global batches of the observations, in order.
        samples: Trained on so far.
        updates: Made so far.
        seconds: Of training.
    """

    name: str
    policy: str | None
    state: str
    num_train: float | None
    chapters: tuple[Chapter, ...]
    decisions: tuple[Said, ...]
    batches: tuple[float, ...]
    samples: float
    updates: float
    seconds: float


def placed_records(run: RunFolder) -> list[Placed]:
    """Return the records of a run with their places.

    Raises:
        CheckpointError: There are none.
    """
    records = read_journal(run.storage)
    if not records:
        raise CheckpointError(
            f"{run.location} has no journal yet: nothing is known of its decisions; wait until it "
            "has begun to train"
        )
    return place(records)


def read_explained(run: RunFolder) -> Explained:
    """Read what there is to explain.

    Raises:
        CheckpointError: Nothing has been recorded.
    """
    placed = placed_records(run)
    kept = survivors(placed)
    batches = [number(one.record, "global_batch") for one in kept if _is(one, "observation")]
    return Explained(
        name=run.name,
        policy=_last(kept, "policy"),
        state=_state(placed),
        num_train=num_train_of(kept),
        chapters=tuple(tell(placed)),
        decisions=tuple(said(one) for one in kept if _is(one, "decision")),
        batches=tuple(batch for batch in batches if batch and batch > 0),
        samples=max((one.samples for one in kept), default=0.0),
        updates=max((number(one.record, "update") or 0.0 for one in kept), default=0.0),
        seconds=max((one.seconds for one in kept), default=0.0),
    )


def num_train_of(kept: Sequence[Placed]) -> float | None:
    """Return the samples of an epoch; None if that is not recorded."""
    found = [number(one.record, "num_train") for one in kept if _is(one, "run_started")]
    return next((num for num in reversed(found) if num and num >= 1), None)


def _is(one: Placed, event: str) -> bool:
    return one.record.get("event") == event


def _last(kept: Sequence[Placed], key: str) -> str | None:
    found = [text(one.record, key) for one in kept if _is(one, "run_started")]
    return found[-1] if found else None


def _state(placed: Sequence[Placed]) -> str:
    newest = max(one.lineage for one in placed)
    ended = [one for one in placed if one.lineage == newest and _is(one, "run_ended")]
    if ended:
        return stop_words(text(ended[-1].record, "reason"))
    return "no end recorded: still running, or cut off"
