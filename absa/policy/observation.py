"""What a policy decides on: all that is known of a run at one point of its training."""

from dataclasses import dataclass

from absa.policy.decision import Levers
from absa.signals import Curvature, NoiseScale


@dataclass(frozen=True)
class Observation:
    """The signals at one boundary, with the settings that they were measured under.

    Args:
        update: Updates applied so far.
        samples: Samples consumed so far.
        num_train: Samples in one epoch.
        total_samples: Samples after which training ends; None if that is not known.
        global_batch: Samples in one update, as it is now.
        lr_scale: Learning rate now / that of the schedule for the reference batch: what the batch
            contributes.
        batch_since: Samples after which the batch was changed last, by whomever.
        adversarial_ratio: Share of each batch that is perturbed, in [0, 1].
        base_lr: Learning rate of the reference batch at this point, without a warm-up.
        decay: What the schedule's decay has left of it, in [0, 1].
        loss: Mean training loss since the last observation; None if nothing was applied.
        noise: The gradient noise scale; None while it has not been measured.
        curvature: The last measurement of the largest Hessian eigenvalue; None before the first.
        curvature_at: Samples after which that was made; None before the first.
    """

    update: int
    samples: int
    num_train: int
    total_samples: int | None
    global_batch: int
    lr_scale: float
    batch_since: int = 0
    adversarial_ratio: float = 0.0
    base_lr: float = 0.0
    decay: float = 1.0
    loss: float | None = None
    noise: NoiseScale | None = None
    curvature: Curvature | None = None
    curvature_at: int | None = None

    @property
    def levers(self) -> Levers:
        """Where the levers stand."""
        return Levers(self.global_batch, self.lr_scale, self.adversarial_ratio)

    @property
    def epoch(self) -> float:
        """Passes over the training data so far."""
        return self.samples / self.num_train

    @property
    def progress(self) -> float | None:
        """Share of the training that is done, in [0, 1]; None if its end is not known."""
        return None if self.total_samples is None else min(self.samples / self.total_samples, 1.0)
