"""What a rank hands over to those that join it, and how one goes on where another stands."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from absa.loop.logbook import Entry
from absa.loop.observing import observe
from absa.loop.results import count, has_diverged
from absa.loop.saving import save_once
from absa.loop.training import Training
from absa.observe import Window
from absa.outside import Outside
from absa.run_state import RunState
from absa.standing import Standing, as_values, from_values
from absa.state import StateTree
from absa.update.scalars import Flags


def hand_over(training: Training) -> StateTree:
    """Return all that a rank must have to stand where this one stands.

    Until it has joined a group, this rank records nothing: another one may be ahead of it, and what
    is still on the device may say that the run has diverged, which is for all to find out.
    """
    training.logbook.hold()
    for result in training.updater.flush():
        count(training, result)
    tree, standing = training.tree(), training.standing
    observed = {
        "window": asdict(training.window),
        "learning_rate": training.applied_lr,
        "workers": training.outside.collective.world_size,
    }
    values = {
        **tree.values,
        "standing": as_values(standing),
        "observed": observed,
        "recent": training.logbook.recent(standing.position),
    }
    return StateTree(tree.tensors, values, tree.kinds)


def join(training: Training, outside: Outside, state: RunState, values: Mapping[str, Any]) -> None:
    """Stand where the ranks of another group stand; the arguments are those of `Loop.join`."""
    before, mine = training.outside, training.standing
    training.updater.flush()  # results of a state that was given up are nobody's
    training.outside, training.started_s = outside, training.clock()
    training.settings, training.progress = state.settings, state.progress
    training.standing = theirs = _for_another_group(from_values(values["standing"]))
    # What is on its way already must not be asked for again.
    training.raised = theirs.asked
    if not (theirs.asked | theirs.doing).command:
        training.taken = None  # it is in force
    _catch_up_with_records(training, before, mine, values.get("recent", ()))
    _go_on_observing(training, values.get("observed"))
    if outside.collective.rank == 0:
        _catch_up_with_saving(training, mine, same=outside.saver is before.saver)
    if has_diverged(training):
        training.stand(ending="diverged")


def _for_another_group(standing: Standing) -> Standing:
    """Forget that a group was to be left: that was another one."""
    old = Flags(regroup=True)
    return replace(standing, asked=standing.asked.without(old), doing=standing.doing.without(old))


def _catch_up_with_records(
    training: Training, before: Outside, mine: Standing, recent: Sequence[Entry]
) -> None:
    """Record what rank 0 has not recorded, for it was not there when it happened."""
    held = training.logbook.release()
    training.logbook.replace(recent)
    if before.lineage != training.outside.lineage:
        return
    if mine.position == training.standing.position:
        training.pass_on(held)
    elif before.collective.rank == 0:
        training.pass_on([record for position, record in recent if position > mine.position])


def _go_on_observing(training: Training, observed: Mapping[str, Any] | None) -> None:
    if observed is not None:
        training.window = Window(**observed["window"])
        training.applied_lr = observed["learning_rate"]
        if observed["workers"] != training.outside.collective.world_size:
            observe(training, observed["workers"])  # an observation speaks of one setting
    training.window.interrupt()


def _catch_up_with_saving(training: Training, mine: Standing, *, same: bool) -> None:
    """Save what the others believe saved.

    Args:
        training: Of rank 0, which alone saves.
        mine: Where it stood before.
        same: Whether its saver is the one that it had before.
    """
    theirs = training.standing
    if same:
        # The others have gone through the motions, perhaps ahead of this rank.
        training.stand(saved_at=mine.saved_at)
        if theirs.ending is None and theirs.saved_at == training.progress.samples:
            save_once(training, "due")
    elif theirs.saved_at is not None:
        # Whether the one that is gone has finished its last checkpoint is not known.
        training.save_again = True
        if theirs.ending is not None:
            training.stand(saved_at=None)
