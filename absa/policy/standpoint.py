"""From the settings in force and what was heard to what a policy sees: the same for all who ask it.

The loop asks while a run trains, and a replay asks afterwards, from the journal.
"""

from dataclasses import dataclass, replace

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
    return replace(limits, hold=settings.hold, max_batch=largest)
