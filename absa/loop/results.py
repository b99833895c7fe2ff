"""Takes in what became of updates: on a GPU the loop learns of it one update late."""

from dataclasses import replace

from absa.loop.ending import diverged
from absa.loop.listening import listen
from absa.loop.training import Training
from absa.update.scalars import UpdateResult


def take_in(training: Training, result: UpdateResult) -> None:
    """Count a result.

    Raises:
        DivergenceError: Too many updates in a row were skipped.
    """
    count(training, result)
    if not result.applied and has_diverged(training):
        raise diverged(training)


def drain(training: Training) -> None:
    """Wait for results still on the device, so that the numbers and the weights agree.

    Raises:
        DivergenceError: Too many updates in a row were skipped.
    """
    training.on_its_way = False
    for result in training.updater.flush():
        take_in(training, result)


def count(training: Training, result: UpdateResult) -> None:
    """Count a result, whatever it says."""
    if result.flags:
        training.stand(asked=training.standing.asked | result.flags)
    training.window.add(result, training.clock())
    listen(training, result)
    progress = training.progress
    if result.applied:
        if progress.skipped_in_a_row:
            training.progress = replace(progress, skipped_in_a_row=0)
        return
    # It was counted as applied when it was sent off.
    in_a_row = progress.skipped_in_a_row + 1
    training.progress = replace(
        progress,
        updates=progress.updates - 1,
        skipped=progress.skipped + 1,
        skipped_in_a_row=in_a_row,
    )
    training.stand(skipped_because=result.reason)
    training.record("update_skipped", reason=result.reason, loss=result.loss, consecutive=in_a_row)


def has_diverged(training: Training) -> bool:
    """Return whether too many updates in a row were skipped."""
    return training.progress.skipped_in_a_row >= training.rules.max_skipped
