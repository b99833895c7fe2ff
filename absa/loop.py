"""The one training loop and its boundary.

Between two updates every rank stands at the same point with the same numbers: there, and nowhere
else, the run is judged, saved, changed and ended. What the ranks must agree on travels with the
gradients of the update before (`Flags`), so the boundary itself costs no message.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NoReturn, Protocol

from absa.boundary import Boundary, Command
from absa.collective import Collective
from absa.errors import DivergenceError
from absa.evaluate import evaluate
from absa.events import Record
from absa.observe import Window
from absa.optim.build import rescale_momentum
from absa.run_state import RunState, gather
from absa.schedules.learning_rate import LearningRate
from absa.settings import Settings
from absa.state import StateTree
from absa.stop import Reached, StopConfig, stop_reason, total_samples
from absa.task import Source
from absa.update.cut import cut_update
from absa.update.replica import Replica
from absa.update.scalars import Flags, UpdateResult
from absa.update.update import Updater

EndReason = Literal["epochs", "updates", "samples", "time", "target", "interrupted", "diverged"]


class Saver(Protocol):
    """Writes checkpoints; called on every rank at the same boundary."""

    def save(self, tree: StateTree, about: Record) -> None:
        """Copy ``tree`` and write it in the background.

        ``about`` has the stamp of a journal record, ``metrics`` (of an evaluation at this point, or
        None), ``best`` (whether that is the best so far) and ``why``: "due", "best", "command" or
        "end".
        """
        ...

    def finish(self, about: Record) -> str | None:
        """Wait until all is written; return the name of the last checkpoint."""
        ...


@dataclass(frozen=True)
class Rules:
    """When the loop does what; intervals in samples are multiples counted from sample 0.

    Args:
        learning_rate: As a function of samples and global batch.
        stop: When the run ends.
        evaluate_samples: Samples between evaluations.
        evaluate_batch: Samples that go through the model at once in an evaluation.
        observe_updates: Updates between observations.
        checkpoint_samples: Samples between checkpoints, or None.
        checkpoint_s: Seconds between checkpoints, or None.
        keep_best: Save whenever an evaluation is the best so far.
        max_skipped: Non-finite updates in a row that end the run.
    """

    learning_rate: LearningRate
    stop: StopConfig
    evaluate_samples: int
    evaluate_batch: int
    observe_updates: int
    checkpoint_samples: int | None
    checkpoint_s: float | None
    keep_best: bool
    max_skipped: int


@dataclass(frozen=True)
class Outside:
    """What the loop is connected to.

    Args:
        collective: The ranks.
        boundary: Journal and commands; used on rank 0 only.
        saver: Checkpoints.
        lineage: Number of this unbroken history of weights.
        generation: Number of this membership of the group.
    """

    collective: Collective
    boundary: Boundary
    saver: Saver
    lineage: int = 0
    generation: int = 0


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
        state: Where to begin.
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
        self._asked = Flags()
        self._metrics: dict[str, float] | None = None
        self._evaluated_at: int | None = None
        self._saved_at: int | None = None
        self._num_updates = 0
        replica.model.train()

    def train(self, about: Record) -> Outcome:
        """Run to the end.

        Args:
            about: What the journal says of the run when it starts.

        Raises:
            DivergenceError: Too many updates in a row were not finite.
        """
        self._record("run_started", **about)
        reason = self._stop_reason(command=None)
        while reason is None:
            reason = self.step()
        return self._end(reason)

    def step(self) -> EndReason | None:
        """Make one update and stand at the boundary after it; return why the run ends, if so."""
        before = self._progress.samples
        self._update()
        return self._boundary(before)

    def _update(self) -> None:
        """Make one update and take in whatever results have arrived."""
        progress = self._progress
        consumed = self._updater.update(
            self._outside.collective,
            self._settings,
            progress.samples,
            self._learning_rate(),
            self._flags(),
        )
        self._num_updates += 1
        self._progress = replace(
            progress, samples=progress.samples + consumed, updates=progress.updates + 1
        )
        for result in self._updater.results():
            self._take_in(result)

    def _flags(self) -> Flags:
        """Say what rank 0 wants all ranks to do at the next boundary."""
        if self._outside.collective.rank != 0:
            return Flags()
        every_s, time_s = self._rules.checkpoint_s, self._rules.stop.time_s
        return Flags(
            command=self._outside.boundary.waiting(),
            checkpoint=every_s is not None and self._clock() - self._saved_s >= every_s,
            time_up=time_s is not None and self._training_s() >= time_s,
        )

    def _take_in(self, result: UpdateResult) -> None:
        self._asked = self._asked | result.flags
        self._window.add(result, self._clock())
        if result.applied:
            self._progress = replace(self._progress, skipped_in_a_row=0)
            return
        # It was counted as applied when it was sent off.
        self._progress = replace(
            self._progress,
            updates=self._progress.updates - 1,
            skipped=self._progress.skipped + 1,
            skipped_in_a_row=self._progress.skipped_in_a_row + 1,
        )
        self._record(
            "update_skipped",
            reason="the loss or the gradient is not finite",
            loss=result.loss,
            consecutive=self._progress.skipped_in_a_row,
        )
        if self._progress.skipped_in_a_row >= self._rules.max_skipped:
            self._diverge()

    def _boundary(self, before: int) -> EndReason | None:
        """Do all that may happen between two updates, in one order on every rank."""
        asked, self._asked = self._asked, Flags()
        command = self._receive() if asked.command else None
        improved = self._crossed(before, self._rules.evaluate_samples) and self._evaluate()
        if self._num_updates % self._rules.observe_updates == 0:
            self._observe()
        reason = self._stop_reason(command, time_up=asked.time_up)
        due = asked.checkpoint or self._crossed(before, self._rules.checkpoint_samples)
        wanted = command is not None and command.checkpoint is not None
        best = improved and self._rules.keep_best
        if reason is None and (due or wanted or best):
            self._save("due" if due else "command" if wanted else "best", best=improved)
        return reason

    def _stop_reason(self, command: Command | None, *, time_up: bool = False) -> EndReason | None:
        if command is not None and command.stop is not None:
            return command.stop
        if time_up:
            return "time"
        accuracy = None if self._metrics is None else self._metrics.get("accuracy")
        reached = Reached(self._progress.samples, self._progress.updates, 0.0, accuracy)
        return stop_reason(self._rules.stop, reached, len(self._replica.train))

    def _receive(self) -> Command:
        """Return rank 0's command on every rank, and put its settings in force."""
        collective, boundary = self._outside.collective, self._outside.boundary
        mine = boundary.take() if collective.rank == 0 else None
        command: Command = collective.broadcast_value(mine, source=0)
        old = self._settings
        self._settings = Settings(
            global_batch=command.global_batch or old.global_batch,
            micro_batch=command.micro_batch or old.micro_batch,
        )
        if self._settings.global_batch != old.global_batch:
            factor = self._rules.learning_rate.factor
            rescale_momentum(
                self._replica.optimizer,
                factor(self._settings.global_batch) / factor(old.global_batch),
            )
        if self._settings != old:
            new, was = asdict(self._settings), asdict(old)
            changed = {name: [was[name], new[name]] for name in new if new[name] != was[name]}
            self._record("settings", changed=changed, reason=command.reason)
        return command

    def _evaluate(self) -> bool:
        """Judge the model; return whether it is the best so far."""
        self._observe()
        started_s = self._clock()
        self._metrics = evaluate(
            self._replica.task,
            self._replica.model,
            self._evaluation,
            self._metric_names,
            self._rules.evaluate_batch,
            self._outside.collective,
        )
        self._evaluated_at = self._progress.samples
        rating = rate(self._metrics)
        best = None if self._progress.best is None else rate(self._progress.best)
        improved = rating is not None and math.isfinite(rating) and (best is None or rating > best)
        if improved:
            self._progress = replace(self._progress, best=dict(self._metrics))
        seconds = self._clock() - started_s
        self._record("evaluation", metrics=self._metrics, seconds=seconds, best=improved)
        self._window.interrupt()
        return improved

    def _observe(self) -> None:
        if self._window.num_updates == 0:
            return
        settings, num_train = self._settings, len(self._replica.train)
        fraction, left_s = self._forecast()
        most_passes = passes_of_largest_share(
            self._replica, settings, self._outside.collective.world_size
        )
        self._record(
            "observation",
            **self._window.summary(),
            learning_rate=self._learning_rate(),
            global_batch=settings.global_batch,
            micro_batch=settings.micro_batch,
            accumulation_steps=most_passes,
            workers=self._outside.collective.world_size,
            progress=fraction,
            time_left_s=left_s,
            epoch=self._progress.samples / num_train,
        )
        self._window = Window(self._clock(), last_s=self._window.last_s)

    def _forecast(self) -> tuple[float | None, float | None]:
        """Return the share of the run that is done and the seconds that are left, if known."""
        num_train, stop, progress = len(self._replica.train), self._rules.stop, self._progress
        spent_s = self._training_s()
        total = total_samples(stop, num_train)
        shares = [
            progress.samples / total if total else None,
            progress.updates / stop.updates if stop.updates else None,
            spent_s / stop.time_s if stop.time_s else None,
        ]
        known = [min(share, 1.0) for share in shares if share is not None]
        if not known or max(known) == 0.0:
            return (max(known) if known else None), None
        return max(known), spent_s * (1.0 - max(known)) / max(known)

    def _save(self, why: str, *, best: bool) -> None:
        self._drain()
        self._saved_s, self._saved_at = self._clock(), self._progress.samples
        self._progress = replace(self._progress, training_s=self._training_s())
        self._started_s = self._clock()
        tree = gather(self._replica, RunState(self._progress, self._settings))
        about = {**self._about(), "best": best, "why": why}
        self._outside.saver.save(tree, about)
        self._window.interrupt()

    def _end(self, reason: EndReason) -> Outcome:
        self._drain()
        improved = self._evaluated_at != self._progress.samples and self._evaluate()
        if self._saved_at != self._progress.samples:
            self._save("end", best=improved)
        self._finish(reason)
        return Outcome(reason, self._metrics, RunState(self._progress, self._settings))

    def _diverge(self) -> NoReturn:
        checkpoint = self._finish("diverged")
        raise DivergenceError(
            f"{self._progress.skipped_in_a_row} updates in a row had a loss or gradient that is "
            f"not finite, at sample {self._progress.samples}, learning rate "
            f"{self._learning_rate():.3g}, batch {self._settings.global_batch}; the last good "
            f"checkpoint is {checkpoint or 'none'}. Lower optimizer.lr, lengthen the warm-up or "
            "set clip_norm; max_skipped says how many are allowed"
        )

    def _finish(self, reason: EndReason) -> str | None:
        checkpoint = self._outside.saver.finish(self._about())
        self._record(
            "run_ended",
            reason=reason,
            metrics=self._metrics,
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

    def _crossed(self, before: int, interval: int | None) -> bool:
        return interval is not None and before // interval < self._progress.samples // interval

    def _learning_rate(self) -> float:
        return self._rules.learning_rate.at(self._progress.samples, self._settings.global_batch)

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
        metrics = self._metrics if self._evaluated_at == self._progress.samples else None
        rating = None if metrics is None else rate(metrics)
        return {**self._stamp(), "metrics": metrics, "best_metric": rating}

    def _record(self, event: str, **fields: Any) -> None:
        if self._outside.collective.rank == 0:
            self._outside.boundary.record({"event": event, **self._stamp(), **fields})


def rate(metrics: dict[str, float]) -> float | None:
    """Return the number by which evaluations are compared: the accuracy, else minus the loss."""
    if "accuracy" in metrics:
        return metrics["accuracy"]
    return -metrics["loss"] if "loss" in metrics else None


def passes_of_largest_share(replica: Replica, settings: Settings, world_size: int) -> int:
    """Return how many passes the busiest rank makes for a whole update."""
    shares = cut_update(
        min(settings.global_batch, len(replica.train)),
        bn_group=replica.options.bn_group,
        micro_batch=settings.micro_batch,
        world_size=world_size,
    )
    return max(len(share) for share in shares)
