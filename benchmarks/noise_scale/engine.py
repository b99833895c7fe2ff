"""Our loop around a task, with the gradient noise looked at; what it says is kept."""

from dataclasses import dataclass
from typing import Literal

import torch

from absa.collective import ALONE, Collective
from absa.events import Record
from absa.instruments import Instruments, NoiseMeter
from absa.loop import Loop
from absa.models.conversion import convert_batch_norm
from absa.models.running_statistics import RunningStatistics
from absa.noise_scale.average import NoiseAverage, NoiseWindow
from absa.noise_scale.config import DEFAULT_WINDOW_UPDATES
from absa.noise_scale.groups import layer_groups
from absa.order import SampleOrder
from absa.outside import Outside
from absa.progress import Progress
from absa.rules import Rules
from absa.run_state import RunState
from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
from absa.schedules.learning_rate import learning_rate
from absa.settings import Settings
from absa.signal_state import SignalState
from absa.stop import StopConfig, total_samples
from absa.task import Task
from absa.update.replica import Replica, UpdateOptions
from benchmarks.nowhere import Kept

CONFIDENCE = 0.9
"""Of every interval: the job's default."""

NEVER = 1 << 60

ALL_ALIKE = 1e9
"""Updates of a window in which the first of a run still counts as much as the last."""


@dataclass(frozen=True)
class Listening:
    """How often the units of updates are looked at, and over what is averaged.

    Args:
        every_updates: As in the job's section ``noise_scale``; None: never.
        probe_every_updates: As there.
        window_updates: Over how many updates norms are averaged; `ALL_ALIKE`: over a whole run.
        observe_updates: Updates between observations.
    """

    every_updates: int | None = None
    probe_every_updates: int | None = None
    window_updates: float = DEFAULT_WINDOW_UPDATES
    observe_updates: int = 20


@dataclass(frozen=True)
class Updates:
    """How updates are made.

    Args:
        batch: Samples of an update.
        micro_batch: Of a pass.
        bn_group: Samples that cannot be taken apart; None: all can.
        lr: Learning rate, constant or the peak of ``decay``.
        momentum: Of SGD.
        weight_decay: Of SGD.
        epochs: After which the run ends; None: when nobody steps it any more.
        decay: Of the learning rate.
        seed: Of the order of samples.
    """

    batch: int
    micro_batch: int
    bn_group: int | None = None
    lr: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    epochs: float | None = None
    decay: Literal["none", "cosine"] = "none"
    seed: int = 0


class Observed(Kept):
    """Keeps records, and knows those that speak of gradient noise."""

    @property
    def observations(self) -> list[Record]:
        """Return those that speak of gradient noise."""
        return [r for r in self.records if r["event"] == "observation" and "noise_scale" in r]


@dataclass(frozen=True)
class Engine:
    """A loop and what it has said.

    Args:
        replica: What it trains.
        loop: The loop.
        kept: Its records.
    """

    replica: Replica
    loop: Loop
    kept: Observed


def build(
    task: Task,
    updates: Updates,
    listening: Listening,
    collective: Collective = ALONE,
    noise: NoiseAverage | None = None,
) -> Engine:
    """Return our loop around a task.

    Args:
        task: Its network's initial weights are those of seed 0.
        updates: How they are made.
        listening: How the gradient noise is looked at.
        collective: The ranks.
        noise: What is known of it at the start. Default: nothing.
    """
    replica = _replica(task, updates)
    meter = None if listening.every_updates is None else _meter(replica, updates, listening)
    kept = Observed()
    settings = Settings(updates.batch, updates.micro_batch)
    signals = SignalState(noise or NoiseAverage())
    loop = Loop(
        replica,
        Instruments(task.datasets().evaluation, ("accuracy", "loss"), noise=meter),
        _rules(updates, listening, len(replica.train)),
        Outside(collective, kept, kept),
        RunState(Progress(), settings, signals),
    )
    return Engine(replica, loop, kept)


def _replica(task: Task, updates: Updates) -> Replica:
    torch.manual_seed(0)
    model = task.build_model()
    if updates.bn_group is not None:
        convert_batch_norm(model, updates.bn_group)
    parameters = list(model.parameters())
    source = task.datasets().train
    sgd = torch.optim.SGD(
        parameters, updates.lr, updates.momentum, weight_decay=updates.weight_decay, fused=True
    )
    return Replica(
        task=task,
        model=model,
        train=source,
        order=SampleOrder(updates.seed, len(source)),
        optimizer=sgd,
        parameters=parameters,
        statistics=RunningStatistics(model),
        device=torch.device("cpu"),
        options=UpdateOptions(updates.bn_group),
    )


def _meter(replica: Replica, updates: Updates, listening: Listening) -> NoiseMeter:
    groups = layer_groups([name for name, _ in replica.model.named_parameters()])
    samples = listening.window_updates * updates.batch
    return NoiseMeter(NoiseWindow(samples, len(replica.train), groups), CONFIDENCE)


def _rules(updates: Updates, listening: Listening, num_train: int) -> Rules:
    stop = StopConfig(epochs=updates.epochs, updates=None if updates.epochs else NEVER)
    schedule = ScheduleConfig(
        scaling="none", warmup=WarmupConfig(kind="none"), decay=DecayConfig(kind=updates.decay)
    )
    return Rules(
        learning_rate=learning_rate(
            updates.lr, schedule, num_train, total_samples(stop, num_train)
        ),
        stop=stop,
        evaluate_samples=NEVER,
        evaluate_batch=1000,
        observe_updates=listening.observe_updates,
        checkpoint_samples=None,
        checkpoint_s=None,
        keep_best=False,
        max_skipped=5,
        noise_updates=listening.every_updates,
        probe_updates=listening.probe_every_updates,
    )
