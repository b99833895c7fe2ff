"""What decides in a run, as its job says it: for the run itself and for a replay of it."""

from dataclasses import dataclass

from absa.errors import ConfigError
from absa.policy.build import Circumstances, build_decider
from absa.policy.decide import Decider
from absa.policy.following import Following
from absa.policy.limits import Limits
from absa.policy.standpoint import Course
from absa.schedules.learning_rate import learning_rate
from absa.settings import Settings
from absa.stop import total_samples
from cluster.job import Job


@dataclass(frozen=True)
class Deciding:
    """Who decides, on what, and where it begins.

    Args:
        decider: The policy with all that surrounds it.
        limits: What it may not exceed.
        course: Of the run.
        start: The settings of the first update.
    """

    decider: Decider
    limits: Limits
    course: Course
    start: Settings


def deciding(job: Job, num_train: int) -> Deciding:
    """Return what decides in a run.

    Args:
        job: Resolved.
        num_train: Samples in one epoch.

    Raises:
        ConfigError: The schedule and the length of the training contradict each other.
    """
    total = total_samples(job.stop, num_train)
    circumstances = Circumstances(
        initial_batch=job.batch.initial,
        following=Following(job.schedule.scaling or "linear", job.schedule.reference_batch),
        momentum=job.optimizer.momentum if job.optimizer.name == "sgd" else None,
        epochs=None if total is None else total / num_train,
        nesterov=job.optimizer.name == "sgd" and bool(job.optimizer.nesterov),
    )
    rate = learning_rate(job.optimizer.lr, job.schedule, num_train, total)
    return Deciding(
        decider=build_decider(job.policy, circumstances),
        limits=_limits(job, num_train),
        course=Course(num_train, total, rate),
        start=start_settings(job),
    )


def start_settings(job: Job) -> Settings:
    """Return the settings of the first update of a resolved job."""
    assert job.batch.micro is not None
    ratio = job.policy.adversarial_ratio or 0.0
    return Settings(job.batch.initial, job.batch.micro, adversarial_ratio=ratio)


def check_batch(job: Job, num_train: int) -> None:
    """Check that there are as many samples as an update takes.

    Args:
        job: Knows where its values were written.
        num_train: Samples in one epoch.

    Raises:
        ConfigError: There are not.
    """
    if job.batch.initial > num_train:
        raise ConfigError(
            f"{job.place('batch.initial')}: batch.initial is {job.batch.initial}, but the training "
            f"data has {num_train} samples; "
            f"an update takes at most all of them: use 1 to {num_train}"
        )
    if job.batch.max is not None and job.batch.max > num_train:
        raise ConfigError(
            f"{job.place('batch.max')}: batch.max is {job.batch.max}, but the training data has "
            f"{num_train} samples; an update takes at most all of them: use {job.batch.initial} to "
            f"{num_train}"
        )


def _limits(job: Job, num_train: int) -> Limits:
    assert job.batch.max is not None
    assert job.batch.bn_group is not None
    largest = min(job.batch.max, num_train)
    return Limits(largest, min(job.batch.initial, largest), min(job.batch.bn_group, largest))
