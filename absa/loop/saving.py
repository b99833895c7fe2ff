"""Saves the state where that is due."""

from absa.loop.results import drain
from absa.loop.training import Training
from absa.rules import crossed
from absa.update.scalars import Flags


def save_if_due(training: Training, before: int, asked: Flags) -> None:
    """Save at a boundary, if there is a reason to.

    Args:
        training: At the boundary.
        before: Samples consumed before the last update.
        asked: What the ranks ask for.
    """
    samples, rules, standing = training.progress.samples, training.rules, training.standing
    if asked.checkpoint or crossed(before, samples, rules.checkpoint_samples):
        save_once(training, "due")
    elif standing.command is not None and standing.command.checkpoint is not None:
        save_once(training, "command")
    elif rules.keep_best and standing.improved_at == samples:
        save_once(training, "best")


def save_once(training: Training, why: str) -> None:
    """Save the state, unless it has been saved at this point.

    Args:
        training: At a boundary, or at its end.
        why: As in `absa.outside.Saver.save`.

    Raises:
        DivergenceError: Too many updates in a row were skipped.
    """
    samples = training.progress.samples
    if training.standing.saved_at == samples:
        return
    drain(training)
    training.saved_s, training.save_again = training.clock(), False
    best = training.standing.improved_at == samples
    training.outside.saver.save(training.tree(), {**training.about(), "best": best, "why": why})
    training.stand(saved_at=samples, saved_why=why)
    training.window.interrupt()
