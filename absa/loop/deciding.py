"""Asks the policy; what rank 0 decides goes to all ranks as a command does.

A change is announced by the flag of the next update and put in force at the boundary after it, on
all ranks at once. Every rank decides, from the same signals, so that a rank 0 that is lost takes no
decision with it; but processors may round differently, so that of rank 0 is what all ranks do.
"""

from dataclasses import replace
from typing import Any

from absa.loop.training import Training
from absa.optim.build import rescale_momentum
from absa.policy.decided import Decided
from absa.policy.decision import Decision
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.settings import Settings
from absa.stop import total_samples


def decide(training: Training) -> None:
    """Decide at a boundary, once, unless a decision is on its way; what is kept is recorded."""
    decider, samples = training.rules.decider, training.progress.samples
    if decider is None or training.decided is not None or training.standing.decided_at == samples:
        return
    training.stand(decided_at=samples)
    known, seen = training.policy, observed(training)
    after, decision = decider.decide(known, seen, _limits(training))
    if decision.changes or after != known:
        training.decided = Decided(decision, after)
    if not decision.changes:
        training.record("decision", **_said(decision))


def put_in_force(training: Training, decided: Decided) -> None:
    """Do what was decided, on every rank."""
    training.policy = decided.known
    if decided.decision.changes:
        training.record("decision", **_said(decided.decision))
        change(training, _settings(training, decided.decision))


def change(training: Training, new: Settings) -> None:
    """Put other settings in force; momentum that holds the learning rate goes with it."""
    samples = training.progress.samples
    jump = training.rules.learning_rate.jump(samples, training.settings, new)
    rescale_momentum(training.replica.optimizer, jump)
    training.settings = new


def _limits(training: Training) -> Limits:
    """Return the job's limits, and what an operator has made of them."""
    limits, settings = training.rules.limits, training.settings
    largest = min(limits.max_batch, settings.max_batch or limits.max_batch)
    return replace(limits, hold=settings.hold, max_batch=largest)


def observed(training: Training) -> Observation:
    """Return what is known at this boundary."""
    settings, rules, samples = training.settings, training.rules, training.progress.samples
    num_train, rate = len(training.replica.train), rules.learning_rate
    base_lr, decay = rate.base(samples)
    return Observation(
        update=training.progress.updates,
        samples=samples,
        num_train=num_train,
        total_samples=total_samples(rules.stop, num_train),
        global_batch=settings.global_batch,
        lr_scale=_scale(training),
        adversarial_ratio=settings.adversarial_ratio,
        base_lr=base_lr,
        decay=decay,
        loss=training.last_loss,
        noise=training.last_noise,
        curvature=training.signals.curvature,
        curvature_at=training.signals.curvature_at,
    )


def _scale(training: Training) -> float:
    """Return what the batch contributes to the learning rate; after a growth, in the end."""
    settings = training.settings
    if settings.lr_scale is not None:
        return settings.lr_scale
    return training.rules.learning_rate.factor(settings.global_batch)


def _settings(training: Training, decision: Decision) -> Settings:
    old, samples, decider = training.settings, training.progress.samples, training.rules.decider
    after, before = decision.after, old.scale_at(samples)
    climbs = decider is not None and after.lr_scale > decision.before.lr_scale
    return replace(
        old,
        global_batch=after.batch,
        lr_scale=after.lr_scale,
        ramp_scale=decision.before.lr_scale if before is None else before,
        ramp_start=samples,
        ramp_samples=decider.ramp_updates * after.batch if decider is not None and climbs else 0,
        adversarial_ratio=after.adversarial_ratio,
    )


def _said(decision: Decision) -> dict[str, Any]:
    """Return a decision as the journal has it."""
    before, after = decision.before, decision.after
    return {
        "rule": decision.rule,
        "reason": decision.reason,
        "numbers": dict(decision.numbers),
        "limited_by": list(decision.limited_by),
        "decided_at": decision.samples,
        "global_batch": [before.batch, after.batch],
        "lr_scale": [before.lr_scale, after.lr_scale],
        "adversarial_ratio": [before.adversarial_ratio, after.adversarial_ratio],
    }
