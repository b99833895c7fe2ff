"""Asks the policy; what rank 0 decides goes to all ranks as a command does.

A change is announced by the flag of the next update and put in force at the boundary after it, on
all ranks at once. Every rank decides, from the same signals, so that a rank 0 that is lost takes no
decision with it; but processors may round differently, so that of rank 0 is what all ranks do.
"""

from absa.loop.training import Training
from absa.optim.build import rescale_momentum
from absa.policy.decided import Decided
from absa.policy.decision import Decision, as_record
from absa.policy.observation import Observation
from absa.policy.standpoint import Course, Heard, limits_under, see, settings_after
from absa.settings import Settings
from absa.stop import total_samples


def decide(training: Training) -> None:
    """Decide at a boundary, once, unless a decision is on its way; what is kept is recorded."""
    decider, samples = training.rules.decider, training.progress.samples
    if decider is None or training.decided is not None or training.standing.decided_at == samples:
        return
    training.stand(decided_at=samples)
    known, seen = training.policy, observed(training)
    limits = limits_under(training.settings, training.rules.limits)
    after, decision = decider.decide(known, seen, limits)
    if decision.changes or after != known:
        training.decided = Decided(decision, after)
    if not decision.changes:
        training.record("decision", **as_record(decision))


def put_in_force(training: Training, decided: Decided) -> None:
    """Do what was decided, on every rank."""
    training.policy = decided.known
    if decided.decision.changes:
        training.record("decision", **as_record(decided.decision))
        samples, decider = training.progress.samples, training.rules.decider
        ramp = 0 if decider is None else decider.ramp_updates
        change(training, settings_after(training.settings, decided.decision, samples, ramp))


def drop(training: Training, decided: Decided, why: str) -> None:
    """Note that a decision comes to nothing, and so does the memory that came with it."""
    was, levers = decided.decision, observed(training).levers
    reason = f"a batch of {was.after.batch} was decided ({was.rule}), but {why}"
    dropped = Decision(was.samples, levers, levers, "dropped", reason)
    training.record("decision", **as_record(dropped))


def change(training: Training, new: Settings) -> None:
    """Put other settings in force; momentum that holds the learning rate goes with it."""
    samples = training.progress.samples
    jump = training.rules.learning_rate.jump(samples, training.settings, new)
    rescale_momentum(training.replica.optimizer, jump)
    training.settings = new


def observed(training: Training) -> Observation:
    """Return what is known at this boundary."""
    rules, progress, signals = training.rules, training.progress, training.signals
    num_train = len(training.replica.train)
    course = Course(num_train, total_samples(rules.stop, num_train), rules.learning_rate)
    heard = Heard(training.last_loss, training.last_noise, signals.curvature, signals.curvature_at)
    return see(course, training.settings, heard, progress.samples, progress.updates)
