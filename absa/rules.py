"""When the training loop does what."""

from dataclasses import dataclass

from absa.policy.decide import Decider
from absa.policy.limits import NO_LIMITS, Limits
from absa.schedules.learning_rate import LearningRate
from absa.stop import StopConfig


@dataclass(frozen=True)
class Rules:
    """When the loop does what; intervals in samples are multiples counted from sample 0.

    Args:
        learning_rate: As a function of samples and global batch.
        stop: When the run ends.
        evaluate_samples: Samples between evaluations.
        evaluate_batch: Samples that go through the model at once in an evaluation.
        observe_updates: Updates between observations, skipped ones included.
        checkpoint_samples: Samples between checkpoints, or None.
        checkpoint_s: Seconds between checkpoints, or None.
        keep_best: Save whenever an evaluation is the best so far.
        max_skipped: Skipped updates in a row that end the run.
        noise_updates: Updates between those whose units are looked at for the gradient noise,
            skipped ones included; None: never.
        probe_updates: The same where that costs another update, because an update cannot be cut.
        curvature_samples: Samples between measurements of curvature, or None.
        curvature_share: Most of the training time that these may take, in (0, 1].
        decider: Who decides how large the batch is; None: nobody.
        limits: What is not to be exceeded then.
    """

    learning_rate: LearningRate
    stop: StopConfig
    evaluate_samples: int
    evaluate_batch: int
    observe_updates: int
    checkpoint_samples: int | None
    checkpoint_s: float | None
    keep_best: bool
    max_skipped: int
    noise_updates: int | None = None
    probe_updates: int | None = None
    curvature_samples: int | None = None
    curvature_share: float = 1.0
    decider: Decider | None = None
    limits: Limits = NO_LIMITS


def rate(metrics: dict[str, float]) -> float | None:
    """Return the number by which evaluations are compared: the accuracy, else minus the loss."""
    if "accuracy" in metrics:
        return metrics["accuracy"]
    return -metrics["loss"] if "loss" in metrics else None


def crossed(before: int, after: int, interval: int | None) -> bool:
    """Return whether a multiple of ``interval`` lies in (before, after]; with None, never."""
    return interval is not None and before // interval < after // interval
