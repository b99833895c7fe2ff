"""A run beside what another policy would have made of its signals."""

from collections.abc import Sequence
from dataclasses import dataclass

from absa.errors import MeasurementError
from absa.policy.decision import Decision
from absa.run_folder import RunFolder
from cluster.explaining.count_updates import count_updates
from cluster.explaining.decided import Said, said
from cluster.explaining.read import num_train_of, placed_records
from cluster.job import Job
from cluster.job_policy import Deciding, check_batch, deciding
from cluster.job_rules import check_with_data
from cluster.placed import placed
from cluster.planning.past import job_of
from cluster.replaying.agreement import disagreements
from cluster.replaying.moments import Moment, read_moments
from cluster.replaying.other import Other, other_job
from cluster.replaying.replay import Step, replay
from cluster.report.history import survivors
from cluster.views.fields import number, text


@dataclass(frozen=True, eq=False)
class Comparison:
    """A run and its replay.

    Args:
        name: Of the run.
        recorded: Kind of the policy that trained it; None: it had none.
        other: The job with the other policy, resolved.
        own: Whether that is the policy of the run itself.
        num_train: Samples of an epoch.
        samples: Trained on.
        updates: Made.
        said: The recorded decisions.
        steps: Those of the other policy.
        moments: The points at which both were asked.
        unlike: Those at which the run's own policy, replayed, decides otherwise than it did.
    """

    name: str
    recorded: str | None
    other: Job
    own: bool
    num_train: int
    samples: float
    updates: float
    said: tuple[Said, ...]
    steps: tuple[Step, ...]
    moments: tuple[Moment, ...]
    unlike: tuple[Moment, ...]

    @property
    def moved(self) -> list[Decision]:
        """What would have changed the batch."""
        return [one.decision for one in self.steps if self.is_in_force(one) and _moves(one)]

    def is_in_force(self, step: Step) -> bool:
        """Return whether a decision would have come into force before the end of the run."""
        return step.in_force_at is not None and step.in_force_at < self.samples


def compare(run: RunFolder, other: Other) -> Comparison:
    """Replay a run.

    Args:
        run: Trained, or training.
        other: The policy to ask instead.

    Raises:
        InputError: The policy is wrong, or nothing has been recorded.
        MeasurementError: The journal does not say enough.
    """
    own_job, job = job_of(run), other_job(run, other)
    kept = survivors(placed_records(run))
    found = num_train_of(kept)
    moments = read_moments(kept, own_job.noise_scale.confidence)
    if found is None or not moments:
        raise MeasurementError(
            f"{run.name} has recorded no signals yet: there is nothing to replay; wait until its "
            f"first observation, after observe.every_updates = {own_job.observe.every_updates} "
            "updates"
        )
    num_train = int(found)
    decisions = [said(one) for one in kept if one.record.get("event") == "decision"]
    policies = [text(o.record, "policy") for o in kept if o.record.get("event") == "run_started"]
    return Comparison(
        name=run.name,
        recorded=(policies[-1] or own_job.policy.kind) if decisions else None,
        other=job,
        own=job == own_job,
        num_train=num_train,
        samples=max(one.samples for one in kept),
        updates=max(number(one.record, "update") or 0.0 for one in kept),
        said=tuple(decisions),
        steps=tuple(replay(policy_of(job, num_train), moments)),
        moments=tuple(moments),
        unlike=tuple(disagreements(moments, replay(policy_of(own_job, num_train), moments))),
    )


def policy_of(job: Job, num_train: int) -> Deciding:
    """Return who decides in a job, refused as it would be for training.

    Raises:
        ConfigError: The job does not go with so many samples.
    """
    check_with_data(job, num_train)
    check_batch(job, num_train)
    with placed(job, "schedule.decay.kind"):
        return deciding(job, num_train)


def updates_of(steps: Sequence[Step], samples: float, num_train: int) -> int:
    """Return how many updates the other policy would have made of the same samples.

    Args:
        steps: At least one.
        samples: Trained on.
        num_train: Samples of an epoch.
    """
    stages = [(0.0, float(steps[0].decision.before.batch))]
    for step in steps:
        decision = step.decision
        batches = [(step.moment.samples, decision.before.batch)]
        if step.in_force_at is not None:
            batches.append((step.in_force_at, decision.after.batch))
        for at, batch in batches:
            if batch != stages[-1][1]:
                stages.append((float(at), float(batch)))
    return count_updates(stages, samples, num_train)


def _moves(step: Step) -> bool:
    return step.decision.before.batch != step.decision.after.batch
