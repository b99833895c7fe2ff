"""Why a run ends, and what is left behind then."""

from dataclasses import dataclass

from absa.errors import DivergenceError
from absa.events import Record
from absa.loop.training import Training
from absa.run_state import RunState
from absa.standing import EndReason
from absa.stop import Reached, stop_reason
from absa.update.scalars import Flags


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    reason: EndReason
    metrics: dict[str, float] | None
    state: RunState


def end_reason(training: Training, asked: Flags) -> EndReason | None:
    """Return why the run ends here, or None; one that is complete was not interrupted.

    Args:
        training: At a boundary.
        asked: What the ranks ask for.
    """
    progress, command = training.progress, training.standing.command
    best = None if progress.best is None else progress.best.get("accuracy")
    reached = Reached(progress.samples, progress.updates, 0.0, best)
    complete = stop_reason(training.rules.stop, reached, len(training.replica.train))
    if complete is not None:
        return complete
    if command is not None and command.stop is not None:
        return command.stop
    return "time" if asked.time_up else None


def finish(training: Training, reason: EndReason) -> str | None:
    """Wait until all is saved and record the end, once; return the last checkpoint's name."""
    checkpoint = training.outside.saver.finish(training.about())
    # A run that is resized goes on, in another group.
    if reason != "resized" and not training.ended:
        training.pass_on([_ended(training, reason, checkpoint)])
        training.ended = training.outside.collective.rank == 0
    return checkpoint


def _ended(training: Training, reason: EndReason, checkpoint: str | None) -> Record:
    """Return the last record; it is in no logbook: whoever is rank 0 in the end makes it."""
    return {
        "event": "run_ended",
        **training.stamp(),
        "reason": reason,
        "metrics": training.standing.metrics,
        "best_metrics": training.progress.best,
        "seconds": training.training_s,
        "skipped": training.progress.skipped,
        "checkpoint": checkpoint,
    }


def diverged(training: Training) -> DivergenceError:
    """End a run whose updates are skipped one after the other; return the error to raise."""
    checkpoint = finish(training, "diverged")
    good = (
        f"the last good checkpoint is {checkpoint}" if checkpoint else "there is no checkpoint yet"
    )
    progress = training.progress
    return DivergenceError(
        f"{progress.skipped_in_a_row} updates in a row were skipped, the last because "
        f"{training.standing.skipped_because}, at sample {progress.samples}, learning rate "
        f"{training.applied_lr:.3g}, batch {training.settings.global_batch}; "
        f"{good}. Lower optimizer.lr, lengthen the warm-up or "
        "set clip_norm; max_skipped says how many are allowed"
    )
