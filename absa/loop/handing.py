"""What a rank hands over to those that join it, and how one goes on where another stands."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

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
    training.on_its_way = False
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
    training.on_its_way = False
    training.outside, training.started_s = outside, training.clock()
    training.settings, training.progress = state.settings, state.progress
    training.signals = state.signals
    training.policy, training.decided = state.policy, state.decided
    training.standing = theirs = _for_another_group(from_values(values["standing"]))
    # What is on its way already must not be asked for again.
    training.raised = theirs.asked
    if not (theirs.asked | theirs.doing).command:
        training.taken = None  # it is in force
    stays = outside.collective.rank == 0 and outside.saver is before.saver
    recent = values.get("recent", ())
    if stays and mine.position < theirs.position:
        training.pass_on([record for position, record in recent if position > mine.position])
    elif mine.position == theirs.position and before.lineage == outside.lineage:
        training.pass_on(training.logbook.held)
    training.logbook.replace(recent)
    _go_on_observing(training, values.get("observed"))
    if stays:
        _save_what_was_missed(training, mine.saved_at)
    elif outside.collective.rank == 0:
        _save_what_may_be_lost(training)
    if has_diverged(training):
        training.stand(ending="diverged")


def _for_another_group(standing: Standing) -> Standing:
    """Forget that a group was to be left: that was another one."""
    old = Flags(regroup=True)
    return replace(standing, asked=standing.asked.without(old), doing=standing.doing.without(old))


def _go_on_observing(training: Training, observed: Mapping[str, Any] | None) -> None:
    if observed is not None:
        training.window = Window(**observed["window"])
        training.applied_lr = observed["learning_rate"]
        if observed["workers"] != training.outside.collective.world_size:
            observe(training, observed["workers"])  # an observation speaks of one setting
    training.window.interrupt()


def _save_what_was_missed(training: Training, saved_at: int | None) -> None:
    """Save here if the others, who only went through the motions, believe it done.

    Args:
        training: Of a rank 0 that stays; the others may have been ahead of it.
        saved_at: Where it saved last itself.
    """
    theirs = training.standing
    training.stand(saved_at=saved_at)
    if theirs.ending is None and theirs.saved_at == training.progress.samples:
        save_once(training, theirs.saved_why)


def _save_what_may_be_lost(training: Training) -> None:
    """Save soon if somebody else has saved: whether that one has finished is not known."""
    if training.standing.saved_at is not None:
        training.save_again = True
        if training.standing.ending is not None:
            training.stand(saved_at=None)
