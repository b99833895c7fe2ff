"""The learning rate as a function of progress in samples and of the global batch."""

from dataclasses import dataclass
from typing import TypeVar

from absa.errors import ConfigError
from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
from absa.schedules.decay import CosineDecay, Decay, NoDecay, PolynomialDecay, StepDecay
from absa.schedules.scaling import ScalingRule, scaling_factor
from absa.schedules.warmup import ConstantWarmup, GradualWarmup, NoWarmup, Warmup
from absa.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class LearningRate:
    """Scaling, warm-up and decay in one pure function.

    Counted in samples, the learning rate does not change its course when the batch grows: the same
    data is seen at the same point of the schedule. A schedule with memory (AutoWU) has the same
    `at` and keeps its measurements in the state tree.

    Args:
        reference_lr: Learning rate at the reference batch, >= 0.
        reference_batch: Samples that it was chosen for.
        scaling: How it grows with the batch.
        warmup: How it begins.
        decay: How it falls.
    """

    reference_lr: float
    reference_batch: int
    scaling: ScalingRule
    warmup: Warmup
    decay: Decay

    def at(self, samples: int, global_batch: int, scale: float | None = None) -> float:
        """Return the learning rate of the update that begins after ``samples`` samples.

        Args:
            samples: Samples consumed so far, >= 0.
            global_batch: Samples in this update, > 0.
            scale: What the batch contributes, where the scaling rule does not say it, > 0.
        """
        peak = self.factor(global_batch) if scale is None else scale
        lr = self.reference_lr * self.warmup.factor(samples, peak)
        return self.decay.lr(lr, samples, self.warmup.length(peak))

    def under(self, settings: Settings, samples: int) -> float:
        """Return the learning rate of the update that begins after ``samples`` samples.

        Args:
            settings: In force.
            samples: Samples consumed so far, >= 0.
        """
        return self.at(samples, settings.global_batch, settings.scale_at(samples))

    def jump(self, samples: int, old: Settings, new: Settings) -> float:
        """Return by what factor the learning rate changes when the settings do.

        Args:
            samples: Samples consumed so far, >= 0.
            old: In force before.
            new: In force from now on.

        Returns:
            New / old; 1 where the old one is 0, so that nothing can be corrected by it.
        """
        before = self.under(old, samples)
        return self.under(new, samples) / before if before > 0 else 1.0

    def base(self, samples: int) -> tuple[float, float]:
        """Return the learning rate of the reference batch without a warm-up, and its decay.

        Args:
            samples: Samples consumed so far, >= 0.

        Returns:
            The learning rate, and what share of its peak that is, in [0, 1].
        """
        lr = self.decay.lr(self.reference_lr, samples, self.warmup.length(1.0))
        return lr, lr / self.reference_lr if self.reference_lr > 0 else 1.0

    def factor(self, global_batch: int) -> float:
        """Return what the batch alone contributes."""
        return scaling_factor(self.scaling, global_batch, self.reference_batch)


def learning_rate(
    lr: float, schedule: ScheduleConfig, num_train: int, total_samples: int | None
) -> LearningRate:
    """Build the schedule of a run.

    In a loop of your own::

        schedule = learning_rate(0.1, ScheduleConfig(reference_batch=64), len(x), 90 * len(x))
        group["lr"] = schedule.at(samples, global_batch)  # before every update

    Args:
        lr: Learning rate at ``schedule.reference_batch`` (``optimizer.lr``).
        schedule: The job's section.
        num_train: Samples in one epoch, > 0.
        total_samples: Samples after which training ends at the latest; None if it ends by time,
            updates or accuracy alone.

    Returns:
        The learning rate as a function of progress and batch, `LearningRate.at`.

    Raises:
        ConfigError: The warm-up is longer than training, the decay needs an end that is not known,
            or it would end above ``lr``.
    """
    return LearningRate(
        reference_lr=lr,
        reference_batch=schedule.reference_batch,
        scaling=schedule.scaling or "linear",
        warmup=_warmup(schedule.warmup, num_train, total_samples),
        decay=_decay(schedule.decay, lr, num_train, total_samples),
    )


def _warmup(config: WarmupConfig, num_train: int, total_samples: int | None) -> Warmup:
    samples = round(config.epochs * num_train)
    if config.kind == "none" or samples == 0:
        return NoWarmup()
    if total_samples is not None and samples > total_samples:
        raise ConfigError(
            f"schedule.warmup.epochs = {config.epochs:g} is longer than training: stop.epochs or "
            f"stop.samples ends it after {total_samples / num_train:g} epochs ({total_samples} "
            "samples); shorten the warm-up, set schedule.warmup.kind = none, or train longer"
        )
    return ConstantWarmup(samples) if config.kind == "constant" else GradualWarmup(samples)


def _decay(config: DecayConfig, lr: float, num_train: int, total_samples: int | None) -> Decay:
    if config.kind == "none":
        return NoDecay()
    if config.kind == "steps" and config.epochs is not None:
        return StepDecay(tuple(round(e * num_train) for e in config.epochs), _set(config.factor))
    if total_samples is None:
        fractions = " with schedule.decay.fractions" if config.kind == "steps" else ""
        raise ConfigError(
            f"schedule.decay.kind = {config.kind}{fractions} needs to know where training ends, "
            "but neither stop.epochs nor stop.samples is set: set one of them, or choose "
            "schedule.decay.kind = none, or steps with schedule.decay.epochs"
        )
    if config.kind == "steps":
        fractions_of_run = _set(config.fractions)
        return StepDecay(tuple(f * total_samples for f in fractions_of_run), _set(config.factor))
    if config.kind == "cosine":
        return CosineDecay(total_samples, _set(config.end_fraction))
    if _set(config.end_lr) > lr:
        raise ConfigError(
            f"schedule.decay.end_lr = {config.end_lr:g} is above optimizer.lr = {lr:g}: a decay "
            "falls; lower end_lr or raise lr"
        )
    return PolynomialDecay(total_samples, _set(config.power), _set(config.end_lr))


def _set(option: T | None) -> T:
    """Return an option that the section has filled in for the chosen kind."""
    assert option is not None
    return option
