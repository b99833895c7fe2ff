"""What the parts of the loop share: what a rank trains, where it stands, whom it talks to."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from absa.boundary import Command
from absa.events import Record
from absa.instruments import Instruments
from absa.loop.logbook import Logbook
from absa.noise_scale.average import NoiseAverage
from absa.observe import Window
from absa.outside import Outside
from absa.progress import Progress
from absa.rules import Rules, rate
from absa.run_state import RunState, gather
from absa.signal_state import SignalState
from absa.signals import NoiseScale
from absa.standing import Standing
from absa.state import StateTree
from absa.update.precondition import trust_options
from absa.update.replica import Replica
from absa.update.scalars import Flags
from absa.update.update import Updater


class Training:
    """One rank's training; what is frozen in it is replaced as the training goes on.

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
        clock: Callable[[], float],
    ) -> None:
        self.replica, self.instruments = replica, instruments
        self.rules, self.outside, self.clock = rules, outside, clock
        self.settings, self.progress = state.settings, state.progress
        self.signals, self.policy = _fitting(state.signals, instruments), state.policy
        self.updater = Updater(replica)
        self.trust = trust_options(replica.optimizer, replica.parameters)
        # What the ranks must agree on; the rest below is this rank's own.
        announced = Flags(command=state.announced)
        self.standing = Standing(asked=announced)
        self.started_s = self.saved_s = clock()
        self.window = Window(self.started_s)
        self.applied_lr = math.nan
        self.logbook = Logbook()
        # Flags of this rank that are on their way.
        self.raised = announced
        # Whether the last update was measured and its result is still on the device.
        self.on_its_way = False
        # A command of which is not known yet that all ranks have it.
        self.taken: Command | None = None
        # A decision that is not in force yet.
        self.decided = state.decided
        # What the last observation said.
        self.last_loss: float | None = None
        self.last_noise: NoiseScale | None = None
        # Whether the last checkpoint may be missing because its saver was lost.
        self.save_again = False
        # Whether this rank has recorded the end.
        self.ended = False

    def stand(self, **changes: Any) -> None:
        """Change what the ranks agree on."""
        self.standing = replace(self.standing, **changes)

    def step_done(self, **changes: Any) -> None:
        """Count a step that every rank has done, or will do, at this point."""
        self.standing = replace(self.standing, position=self.standing.position + 1, **changes)

    def record(self, event: str, **fields: Any) -> None:
        """Take note of what happened at this point; only rank 0 passes it on."""
        record = {"event": event, **self.stamp(), **fields}
        self.pass_on(self.logbook.add(self.standing.position, record))

    def pass_on(self, records: Sequence[Record]) -> None:
        """Tell the outside; only rank 0 does."""
        if self.outside.collective.rank == 0:
            for record in records:
                self.outside.boundary.record(record)

    def stamp(self) -> Record:
        """Return what every record says."""
        return {
            "time": time.time(),
            "lineage": self.outside.lineage,
            "generation": self.outside.generation,
            "update": self.progress.updates,
            "samples": self.progress.samples,
        }

    def about(self) -> Record:
        """Return what a checkpoint made now says of itself."""
        fresh = self.standing.evaluated_at == self.progress.samples
        metrics = self.standing.metrics if fresh else None
        rating = None if metrics is None else rate(metrics)
        return {**self.stamp(), "metrics": metrics, "best_metric": rating}

    @property
    def training_s(self) -> float:
        """Seconds of training since the run began, those before this process included."""
        return self.progress.training_s + self.clock() - self.started_s

    def run_state(self, progress: Progress) -> RunState:
        """Return what evolves beside the tensors of the replica."""
        announced = self.decided is not None and self.standing.asked.command
        return RunState(progress, self.settings, self.signals, self.policy, self.decided, announced)

    def tree(self) -> StateTree:
        """Return everything that evolves; its tensors are the live ones."""
        progress = replace(self.progress, training_s=self.training_s)
        return gather(self.replica, self.run_state(progress))


def _fitting(signals: SignalState, instruments: Instruments) -> SignalState:
    """Begin a new average if that of a checkpoint is of other groups: other layers are trained."""
    noise = instruments.noise
    if noise is None or noise.window.fits(signals.noise):
        return signals
    return replace(signals, noise=NoiseAverage())
