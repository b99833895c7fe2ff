"""From the ``policy`` section of a job to what decides."""

from dataclasses import dataclass

from absa.policy.clock import Clock
from absa.policy.config import PolicyConfig
from absa.policy.curvature_rule import CurvatureRule
from absa.policy.decide import Decider
from absa.policy.fixed import Fixed
from absa.policy.following import Following
from absa.policy.hybrid import Hybrid
from absa.policy.noise_rule import NoiseRule
from absa.policy.policy import Policy
from absa.policy.schedule import InsteadOfDecay
from absa.policy.stability import Stability
from absa.policy.warming import Warming


@dataclass(frozen=True)
class Circumstances:
    """What the sections beside ``policy`` say.

    Args:
        initial_batch: ``batch.initial``.
        following: How the learning rate follows the batch.
        momentum: Of stochastic gradient descent; None where the optimizer is another one.
        nesterov: Whether that is Nesterov's.
        epochs: Length of the training; None if it is not known.
    """

    initial_batch: int
    following: Following
    momentum: float | None
    epochs: float | None
    nesterov: bool = False


def build_decider(config: PolicyConfig, job: Circumstances) -> Decider:
    """Return what decides in a run.

    Args:
        config: The job's section.
        job: What the others say.
    """
    stability = None
    if config.lr_margin is not None and job.momentum is not None:
        stability = Stability(job.momentum, config.lr_margin, job.nesterov)
    warming = None
    if config.warmup is not None:
        growth = config.factor or 2.0
        warming = Warming(job.initial_batch, config.warmup.to_batch, config.warmup.epochs, growth)
    return Decider(
        kind=config.kind,
        policy=build_policy(config, job),
        following=job.following,
        stability=stability,
        warming=warming,
        ramp_updates=config.ramp_updates,
    )


def build_policy(config: PolicyConfig, job: Circumstances) -> Policy:
    """Return the policy that a section names.

    Args:
        config: With the options that its kind reads filled in.
        job: What the other sections say.
    """
    factor = config.factor or 2.0
    match config.kind:
        case "fixed":
            return Fixed()
        case "clock":
            # As many growths as the reference experiment had: eleven equal parts of the training.
            every = config.every_epochs or (job.epochs or 90.0) / 11
            return Clock(job.initial_batch, every, factor)
        case "schedule":
            return InsteadOfDecay(job.initial_batch, factor)
        case "abs" | "absa":
            return _curvature(config, job)
        case "noise_scale":
            return _noise(config)
        case "hybrid":
            assert config.most is not None
            return Hybrid(_noise(config), _curvature(config, job), config.most)


def _curvature(config: PolicyConfig, job: Circumstances) -> CurvatureRule:
    assert config.alpha is not None
    assert config.factor is not None
    assert config.reference_epochs is not None
    # The authors' 10 of 90 epochs.
    patience = config.patience_epochs or (job.epochs / 9 if job.epochs else 10.0)
    return CurvatureRule(
        alpha=config.alpha,
        factor=config.factor,
        patience_epochs=patience,
        reference_epochs=config.reference_epochs,
        ratio=config.adversarial_ratio or 0.0,
        ratio_until=1.0 if config.adversarial_until is None else config.adversarial_until,
    )


def _noise(config: PolicyConfig) -> NoiseRule:
    assert config.ratio is not None
    assert config.factor is not None
    return NoiseRule(config.ratio, config.factor, shrinks=bool(config.shrinks))
