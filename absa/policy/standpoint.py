"""From the settings in force and what was heard to what a policy sees: the same for all who ask it.

The loop asks while a run trains, and a replay asks afterwards, from the journal.
"""

from dataclasses import dataclass, replace

from absa.policy.decision import Decision
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.schedules.learning_rate import LearningRate
from absa.settings import Settings
from absa.signals import Curvature, NoiseScale


@dataclass(frozen=True)
class Course:
    """What a run has set out to do; it does not change while the run trains.

    Args:
        num_train: Samples in one epoch.
        total_samples: Samples after which training ends; None if that is not known.
        learning_rate: As a function of samples and batch.
    """

    num_train: int
    total_samples: int | None
    learning_rate: LearningRate


@dataclass(frozen=True)
class Heard:
    """The signals as they were heard last; None: not yet.

    Args:
        loss: Mean training loss since the observation before the last.
        noise: The gradient noise scale.
        curvature: The largest Hessian eigenvalue.
        curvature_at: Samples after which that was measured.
    """

    loss: float | None = None
    noise: NoiseScale | None = None
    curvature: Curvature | None = None
    curvature_at: int | None = None


def see(course: Course, settings: Settings, heard: Heard, samples: int, update: int) -> Observation:
    """Return what is known at a boundary.

    Args:
        course: Of the run.
        settings: In force.
        heard: The signals.
        samples: Consumed so far.
        update: Updates applied so far.
    """
    base_lr, decay = course.learning_rate.base(samples)
    scale = settings.lr_scale
    if scale is None:
        scale = course.learning_rate.factor(settings.global_batch)
    return Observation(
        update=update,
        samples=samples,
        num_train=course.num_train,
        total_samples=course.total_samples,
        global_batch=settings.global_batch,
        lr_scale=scale,
        batch_since=settings.batch_since,
        adversarial_ratio=settings.adversarial_ratio,
        base_lr=base_lr,
        decay=decay,
        loss=heard.loss,
        noise=heard.noise,
        curvature=heard.curvature,
        curvature_at=heard.curvature_at,
    )


def limits_under(settings: Settings, limits: Limits) -> Limits:
    """Return the limits of the job with what an operator has made of them.

    Args:
        settings: In force.
        limits: Of the job.
    """
    largest = min(limits.max_batch, settings.max_batch or limits.max_batch)
    return replace(limits, hold=settings.hold, max_batch=largest, of_job=limits.max_batch)


def settings_after(
    old: Settings, decision: Decision, samples: int, ramp_updates: int = 0
) -> Settings:
    """Return the settings that a decision leads to.

    Args:
        old: In force when it arrives.
        decision: What is to be done.
        samples: Consumed when it arrives.
        ramp_updates: Over how many updates the learning rate climbs. A decision that leaves batch
            and learning rate alone leaves a climb alone as well.
    """
    after, before = decision.after, decision.before
    new = replace(
        old,
        global_batch=after.batch,
        lr_scale=after.lr_scale,
        adversarial_ratio=after.adversarial_ratio,
    )
    if (after.batch, after.lr_scale) == (before.batch, before.lr_scale):
        return replace(new, lr_scale=old.lr_scale)
    reached = old.scale_at(samples)
    reached = before.lr_scale if reached is None else reached
    climb = ramp_updates * after.batch if after.lr_scale > reached else 0
    new = replace(new, ramp_scale=reached, ramp_start=samples, ramp_samples=climb)
    return new.following(old, decision.samples)
