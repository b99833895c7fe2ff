"""The loop and its boundary: what happens between two updates, and in which order.

Between two updates every rank stands at the same point with the same numbers: there, and nowhere
else, the run is judged, saved, changed and ended. What the ranks must agree on travels with the
gradients of the update before (`Flags`), so the boundary itself costs no message.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from absa.events import Record
from absa.instruments import Instruments
from absa.loop import handing
from absa.loop.commands import receive
from absa.loop.deciding import decide
from absa.loop.ending import Outcome, diverged, end_reason, finish
from absa.loop.evaluating import evaluate_once
from absa.loop.flags import wanted
from absa.loop.listening import is_measured
from absa.loop.measuring import measure_if_due
from absa.loop.observing import observe
from absa.loop.results import drain, take_in
from absa.loop.saving import save_if_due, save_once
from absa.loop.training import Training
from absa.outside import Outside
from absa.rules import Rules, crossed
from absa.run_state import RunState
from absa.state import StateTree
from absa.update.replica import Replica
from absa.update.scalars import Flags
from absa.update.update import Turn

Next = Literal["update", "regroup", "end"]
"""What comes after a boundary: the next update, another group of ranks, or the end."""


class Loop:
    """Trains one replica until a stop rule, a command or divergence ends the run.

    Args:
        replica: The rank's model and data.
        instruments: What the run is judged and measured with.
        rules: When to do what.
        outside: What the run is connected to.
        state: Where to begin; the replica's tensors stand there already.
        clock: Seconds from any origin.
    """

    def __init__(
        self,
        replica: Replica,
        instruments: Instruments,
        rules: Rules,
        outside: Outside,
        state: RunState,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._training = Training(replica, instruments, rules, outside, state, clock)
        replica.model.train()

    def train(self, about: Record) -> Outcome:
        """Run to the end, with ranks that stay.

        Args:
            about: What the journal says of the run when it starts.

        Raises:
            DivergenceError: Too many updates in a row were skipped.
            TaskError: The task broke its contract.
        """
        try:
            self.start(about)
            while self.step() != "end":
                pass
            return self.end()
        finally:
            self.close()

    def rehearse(self, world_size: int) -> None:
        """Do a rank's share of an update for nothing, so that its first real one is not slow."""
        self._training.updater.rehearse(self._training.settings, world_size)

    def start(self, about: Record) -> None:
        """Record the start; the run may be complete already."""
        training = self._training
        training.record("run_started", **about, global_batch=training.settings.global_batch)
        for text in training.instruments.missing:
            training.record("warning", text=text)
        time_s = training.rules.stop.time_s
        # Later the clocks of the ranks differ; what was restored is the same on all.
        time_up = time_s is not None and training.progress.training_s >= time_s
        training.stand(ending=end_reason(training, Flags(time_up=time_up)))

    def step(self) -> Next:
        """Make one update and stand at the boundary after it.

        If it fails because a rank was lost, it can be called again once this rank has joined
        another group: it goes on where the group stands.
        """
        training, asked = self._training, Flags()
        if training.standing.ending is None:
            if training.standing.boundary is None:
                _update(training)
            asked = _boundary(training)
        if training.standing.ending is not None:
            return "end"
        return "regroup" if asked.regroup else "update"

    def end(self) -> Outcome:
        """Judge and save what the training has led to; like `step`, it can be called again.

        Raises:
            DivergenceError: Too many updates in a row were skipped.
        """
        training = self._training
        reason = training.standing.ending
        assert reason is not None, "step says when"
        if reason == "diverged":
            raise diverged(training)
        drain(training)
        observe(training)
        # Who interrupts a run may not wait for long: what counts then is the checkpoint.
        if reason not in ("interrupted", "resized"):
            evaluate_once(training)
        save_once(training, "command" if reason == "resized" else "end")
        finish(training, reason)
        state = training.run_state(training.progress)
        return Outcome(reason, training.standing.metrics, state)

    def close(self) -> None:
        """Take the hooks off the model."""
        self._training.updater.close()

    def hand_over(self) -> StateTree:
        """Return all that a rank must have to stand where this one stands.

        This rank must join a group, another one or the same, before it goes on.
        """
        return handing.hand_over(self._training)

    def join(self, outside: Outside, state: RunState, values: Mapping[str, Any]) -> None:
        """Stand where the ranks of another group stand.

        Args:
            outside: What the run is connected to from now on.
            state: What evolves beside the replica's tensors, which are there already.
            values: Those of the tree that another rank's `hand_over` returned.
        """
        handing.join(self._training, outside, state, values)

    @property
    def position(self) -> int:
        """How many steps this rank has done: `Standing.position`."""
        return self._training.standing.position

    def record(self, event: str, **fields: Any) -> None:
        """Take note of what happened at this point; only rank 0 does."""
        self._training.record(event, **fields)


def _update(training: Training) -> None:
    """Make one update and take in whatever results are due."""
    progress, settings = training.progress, training.settings
    learning_rate = training.rules.learning_rate.under(settings, progress.samples)
    flags = wanted(training)
    measured = is_measured(training)
    turn = Turn(progress.samples, learning_rate, flags, measured)
    consumed = training.updater.update(training.outside.collective, settings, turn)
    training.progress = replace(
        progress, samples=progress.samples + consumed, updates=progress.updates + 1
    )
    training.applied_lr = learning_rate
    if flags:
        training.raised |= flags
    training.step_done(boundary=progress.samples)
    training.on_its_way = measured and training.updater.num_on_their_way > 0
    for result in training.updater.results():
        take_in(training, result)
    if training.standing.asked:
        training.stand(doing=training.standing.asked, asked=Flags())


def _boundary(training: Training) -> Flags:
    """Do all that may happen between two updates, in one order on every rank.

    Each part is done once, even if a later one fails and the boundary is gone through again.

    Returns:
        What the ranks asked for.
    """
    asked, before = training.standing.doing, training.standing.boundary
    assert before is not None
    if asked:
        training.raised = training.raised.without(asked)
    progress, rules = training.progress, training.rules
    if asked.command:
        receive(training)
    measure_if_due(training, before)
    if crossed(before, progress.samples, rules.evaluate_samples):
        evaluate_once(training)
    observes = (progress.updates + progress.skipped) % rules.observe_updates == 0
    if observes:
        observe(training)
    standing = training.standing
    if observes or progress.samples in (standing.measured_at, standing.evaluated_at):
        decide(training)
    reason = end_reason(training, asked)
    if reason == "updates":
        drain(training)  # a result that is still on its way may take an update back
        reason = end_reason(training, asked)
    if reason is None:
        save_if_due(training, before, asked)
    training.step_done(boundary=None, doing=Flags(), command=None, ending=reason)
    return asked
