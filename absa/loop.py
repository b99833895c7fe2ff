"""The one training loop and its boundary.

Between two updates every rank stands at the same point with the same numbers: there, and nowhere
else, the run is judged, saved, changed and ended. What the ranks must agree on travels with the
gradients of the update before (`Flags`), so the boundary itself costs no message.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NoReturn

from absa.boundary import Command
from absa.errors import DivergenceError
from absa.evaluate import evaluate
from absa.events import Record
from absa.observe import Window, forecast
from absa.optim.build import rescale_momentum
from absa.outside import Outside
from absa.rules import Rules, crossed, rate
from absa.run_state import RunState, gather
from absa.standing import EndReason, Standing, as_values, from_values
from absa.state import StateTree
from absa.stop import Reached, stop_reason
from absa.task import Source
from absa.update.cut import cut_update
from absa.update.replica import Replica
from absa.update.scalars import Flags, UpdateResult
from absa.update.update import Turn, Updater

Next = Literal["update", "regroup", "end"]
"""What comes after a boundary: the next update, another group of ranks, or the end."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    reason: EndReason
    metrics: dict[str, float] | None
    state: RunState


class Loop:
    """Trains one replica until a stop rule, a command or divergence ends the run.

    Args:
        replica: The rank's model and data.
        evaluation: The evaluation data.
        metric_names: What the task measures, without ``count``, in one order on every rank.
        rules: When to do what.
        outside: What the run is connected to.
        state: Where to begin; the replica's tensors stand there already.
        clock: Seconds from any origin.
    """

    def __init__(
        self,
        replica: Replica,
        evaluation: Source,
        metric_names: Sequence[str],
        rules: Rules,
        outside: Outside,
        state: RunState,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replica, self._evaluation, self._metric_names = replica, evaluation, metric_names
        self._rules, self._outside, self._clock = rules, outside, clock
        self._settings, self._progress = state.settings, state.progress
        self._updater = Updater(replica)
        self._started_s = self._saved_s = clock()
        self._window = Window(self._started_s)
        self._applied_lr = math.nan
        self._standing = Standing()
        # Flags of this rank that are on their way.
        self._raised = Flags()
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
        self._updater.rehearse(self._settings, world_size)

    def start(self, about: Record) -> None:
        """Record the start; the run may be complete already."""
        self.record("run_started", **about)
        time_s = self._rules.stop.time_s
        # Later the clocks of the ranks differ; what was restored is the same on all.
        time_up = time_s is not None and self._progress.training_s >= time_s
        self._stand(ending=self._stop_reason(Flags(time_up=time_up)))

    def step(self) -> Next:
        """Make one update and stand at the boundary after it.

        If it fails because a rank was lost, it can be called again once this rank has joined
        another group: it goes on where the group stands.
        """
        asked = Flags()
        if self._standing.ending is None:
            if self._standing.boundary is None:
                self._update()
            asked = self._boundary()
        if self._standing.ending is not None:
            return "end"
        return "regroup" if asked.regroup else "update"

    def end(self) -> Outcome:
        """Judge and save what the training has led to; like `step`, it can be called again."""
        reason = self._standing.ending
        assert reason is not None, "step says when"
        self._drain()
        self._observe()
        # Who interrupts a run may not wait for long: what counts then is the checkpoint.
        if reason not in ("interrupted", "resized"):
            self._evaluate()
        self._save("command" if reason == "resized" else "end")
        self._finish(reason)
        return Outcome(reason, self._standing.metrics, RunState(self._progress, self._settings))

    def close(self) -> None:
        """Take the hooks off the model."""
        self._updater.close()

    def hand_over(self) -> StateTree:
        """Return all that a rank must have to stand where this one stands."""
        self._drain()
        progress = replace(self._progress, training_s=self._training_s())
        tree = gather(self._replica, RunState(progress, self._settings))
        values = {**tree.values, "standing": as_values(self._standing)}
        return StateTree(tree.tensors, values, tree.kinds)

    def join(self, outside: Outside, state: RunState, values: Mapping[str, Any]) -> None:
        """Stand where the ranks of another group stand.

        Args:
            outside: What the run is connected to from now on.
            state: What evolves beside the replica's tensors, which are there already.
            values: Those of the tree that another rank's `hand_over` returned.
        """
        self._settings, self._progress = state.settings, state.progress
        self._standing, self._raised = from_values(values["standing"]), Flags()
        if outside.saver is not self._outside.saver:
            # Whether the one that is gone has finished its last one is not known.
            self._stand(saved_at=None)
        self._outside = outside
        self._started_s = self._clock()
        self._window.interrupt()

    @property
    def position(self) -> int:
        """How many steps this rank has done: `Standing.position`."""
        return self._standing.position

    def _update(self) -> None:
        """Make one update and take in whatever results are due."""
        progress = self._progress
        self._applied_lr = self._rules.learning_rate.at(
            progress.samples, self._settings.global_batch
        )
        turn = Turn(progress.samples, self._applied_lr, self._flags())
        consumed = self._updater.update(self._outside.collective, self._settings, turn)
        self._progress = replace(
            progress, samples=progress.samples + consumed, updates=progress.updates + 1
        )
        self._step_done(boundary=progress.samples)
        for result in self._updater.results():
            self._take_in(result)

    def _flags(self) -> Flags:
        """Say what this rank wants all ranks to do at the next boundary; it says so once."""
        collective = self._outside.collective
        wanted = Flags(regroup=collective.superseded)
        if collective.rank == 0:
            every_s, time_s = self._rules.checkpoint_s, self._rules.stop.time_s
            wanted |= Flags(
                command=self._outside.boundary.waiting(),
                checkpoint=every_s is not None and self._clock() - self._saved_s >= every_s,
                time_up=time_s is not None and self._training_s() >= time_s,
            )
        if not wanted:
            return wanted
        wanted = wanted.without(self._raised)
        self._raised |= wanted
        return wanted

    def _take_in(self, result: UpdateResult) -> None:
        if result.flags:
            self._stand(asked=self._standing.asked | result.flags)
        self._window.add(result, self._clock())
        if result.applied:
            if self._progress.skipped_in_a_row:
                self._progress = replace(self._progress, skipped_in_a_row=0)
            return
        # It was counted as applied when it was sent off.
        self._progress = replace(
            self._progress,
            updates=self._progress.updates - 1,
            skipped=self._progress.skipped + 1,
            skipped_in_a_row=self._progress.skipped_in_a_row + 1,
        )
        in_a_row = self._progress.skipped_in_a_row
        self.record("update_skipped", reason=result.reason, loss=result.loss, consecutive=in_a_row)
        if in_a_row >= self._rules.max_skipped:
            self._diverge(result)

    def _boundary(self) -> Flags:
        """Do all that may happen between two updates, in one order on every rank.

        Each part is done once, even if a later one fails and the boundary is gone through again.

        Returns:
            What the ranks asked for.
        """
        if self._standing.asked:
            self._stand(doing=self._standing.doing | self._standing.asked, asked=Flags())
        asked, before = self._standing.doing, self._standing.boundary
        assert before is not None
        self._raised = self._raised.without(asked)
        progress, rules = self._progress, self._rules
        if asked.command and self._standing.command is None:
            self._receive()
        if crossed(before, progress.samples, rules.evaluate_samples):
            self._evaluate()
        elif (progress.updates + progress.skipped) % rules.observe_updates == 0:
            self._observe()
        reason = self._stop_reason(asked)
        if reason == "updates":
            self._drain()  # a result that is still on its way may take an update back
            reason = self._stop_reason(asked)
        if reason is None:
            self._save_if_due(before, asked)
        self._step_done(boundary=None, doing=Flags(), command=None, ending=reason)
        return asked

    def _save_if_due(self, before: int, asked: Flags) -> None:
        progress, rules, standing = self._progress, self._rules, self._standing
        if asked.checkpoint or crossed(before, progress.samples, rules.checkpoint_samples):
            self._save("due")
        elif standing.command is not None and standing.command.checkpoint is not None:
            self._save("command")
        elif rules.keep_best and standing.improved_at == progress.samples:
            self._save("best")

    def _stop_reason(self, asked: Flags) -> EndReason | None:
        """Return why the run ends here; one that is complete was not interrupted."""
        progress, command = self._progress, self._standing.command
        best = None if progress.best is None else progress.best.get("accuracy")
        reached = Reached(progress.samples, progress.updates, 0.0, best)
        complete = stop_reason(self._rules.stop, reached, len(self._replica.train))
        if complete is not None:
            return complete
        if command is not None and command.stop is not None:
            return command.stop
        return "time" if asked.time_up else None

    def _receive(self) -> None:
        """Take rank 0's command on every rank, and put its settings in force."""
        collective, boundary = self._outside.collective, self._outside.boundary
        mine = boundary.take() if collective.rank == 0 else None
        command: Command = collective.broadcast_value(mine, source=0)
        old, new = self._settings, command.settings(self._settings)
        if new != old:
            self._observe()  # an observation speaks of one setting
            jump = self._rules.learning_rate.jump(
                self._progress.samples, old.global_batch, new.global_batch
            )
            rescale_momentum(self._replica.optimizer, jump)
            self._settings = new
            was, now = asdict(old), asdict(new)
            changed = {name: [was[name], now[name]] for name in now if now[name] != was[name]}
            self.record("settings", changed=changed, reason=command.reason)
        self._step_done(command=command)

    def _evaluate(self) -> None:
        """Judge the model, once, and remember whether it is the best so far."""
        if self._standing.evaluated_at == self._progress.samples:
            return
        self._drain()
        self._observe()
        started_s = self._clock()
        metrics = evaluate(
            self._replica.task,
            self._replica.model,
            self._evaluation,
            self._metric_names,
            self._rules.evaluate_batch,
            self._outside.collective,
        )
        samples = self._progress.samples
        rating = rate(metrics)
        best = None if self._progress.best is None else rate(self._progress.best)
        improved = rating is not None and math.isfinite(rating) and (best is None or rating > best)
        if improved:
            self._progress = replace(self._progress, best=dict(metrics))
            self._stand(improved_at=samples)
        self._step_done(metrics=metrics, evaluated_at=samples)
        seconds = self._clock() - started_s
        self.record("evaluation", metrics=metrics, seconds=seconds, best=improved)
        self._window.interrupt()

    def _observe(self) -> None:
        if self._window.num_updates == 0:
            return
        num_train, world_size = len(self._replica.train), self._outside.collective.world_size
        done, left_s = forecast(self._rules.stop, self._progress, num_train, self._training_s())
        shares = cut_update(
            min(self._settings.global_batch, num_train),
            bn_group=self._replica.options.bn_group,
            micro_batch=self._settings.micro_batch,
            world_size=world_size,
        )
        self.record(
            "observation",
            **self._window.summary(),
            learning_rate=self._applied_lr,
            global_batch=self._settings.global_batch,
            micro_batch=self._settings.micro_batch,
            accumulation_steps=max(len(share) for share in shares),
            workers=world_size,
            progress=done,
            time_left_s=left_s,
            epoch=self._progress.samples / num_train,
        )
        self._window = Window(self._window.last_s)

    def _save(self, why: str) -> None:
        """Save the state, once."""
        if self._standing.saved_at == self._progress.samples:
            return
        self._drain()
        self._saved_s = self._clock()
        progress = replace(self._progress, training_s=self._training_s())
        tree = gather(self._replica, RunState(progress, self._settings))
        best = self._standing.improved_at == self._progress.samples
        self._outside.saver.save(tree, {**self._about(), "best": best, "why": why})
        self._stand(saved_at=self._progress.samples)
        self._window.interrupt()

    def _diverge(self, result: UpdateResult) -> NoReturn:
        checkpoint = self._finish("diverged")
        good = (
            f"the last good checkpoint is {checkpoint}"
            if checkpoint
            else "there is no checkpoint yet"
        )
        raise DivergenceError(
            f"{self._progress.skipped_in_a_row} updates in a row were skipped, the last because "
            f"{result.reason}, at sample {self._progress.samples}, learning rate "
            f"{self._applied_lr:.3g}, batch {self._settings.global_batch}; "
            f"{good}. Lower optimizer.lr, lengthen the warm-up or "
            "set clip_norm; max_skipped says how many are allowed"
        )

    def _finish(self, reason: EndReason) -> str | None:
        checkpoint = self._outside.saver.finish(self._about())
        if reason == "resized":
            return checkpoint  # the run goes on, in another group
        self.record(
            "run_ended",
            reason=reason,
            metrics=self._standing.metrics,
            best_metrics=self._progress.best,
            seconds=self._training_s(),
            skipped=self._progress.skipped,
            checkpoint=checkpoint,
        )
        return checkpoint

    def _drain(self) -> None:
        """Wait for results still on the device, so that the numbers and the weights agree."""
        for result in self._updater.flush():
            self._take_in(result)

    def _stand(self, **changes: Any) -> None:
        self._standing = replace(self._standing, **changes)

    def _step_done(self, **changes: Any) -> None:
        """Count a step that every rank has done, or will do, at this point."""
        self._stand(position=self._standing.position + 1, **changes)

    def _training_s(self) -> float:
        return self._progress.training_s + self._clock() - self._started_s

    def _stamp(self) -> Record:
        return {
            "time": time.time(),
            "lineage": self._outside.lineage,
            "generation": self._outside.generation,
            "update": self._progress.updates,
            "samples": self._progress.samples,
        }

    def _about(self) -> Record:
        """Return what a checkpoint made now says of itself."""
        standing = self._standing
        fresh = standing.evaluated_at == self._progress.samples
        metrics = standing.metrics if fresh else None
        rating = None if metrics is None else rate(metrics)
        return {**self._stamp(), "metrics": metrics, "best_metric": rating}

    def record(self, event: str, **fields: Any) -> None:
        """Take note of what happened at this point; only rank 0 does."""
        if self._outside.collective.rank == 0:
            self._outside.boundary.record({"event": event, **self._stamp(), **fields})
