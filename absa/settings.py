"""What may change in a running job, the same on every rank and in force from one update on."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Settings:
    """How the next updates are made.

    Args:
        global_batch: Samples in one update, over all ranks and passes.
        micro_batch: Most samples that go through the model at once.
        lr_scale: What the learning rate of the reference batch is multiplied with; None: what
            ``schedule.scaling`` says of the batch.
        batch_since: Samples after which another global batch was decided on last.
        ramp_scale: Where it comes from: after a growth it climbs in a straight line.
        ramp_start: Samples after which that line begins.
        ramp_samples: How long it is; 0: there is none.
        adversarial_ratio: Share of each batch whose inputs are perturbed, in [0, 1].
        hold: An operator wants everything kept as it is.
        max_batch: The largest batch that an operator allows the policy; None: the job's.
    """

    global_batch: int
    micro_batch: int
    lr_scale: float | None = None
    batch_since: int = 0
    ramp_scale: float = 1.0
    ramp_start: int = 0
    ramp_samples: int = 0
    adversarial_ratio: float = 0.0
    hold: bool = False
    max_batch: int | None = None

    def scale_at(self, samples: int) -> float | None:
        """Return ``lr_scale`` as far as it has climbed after so many samples."""
        done = samples - self.ramp_start
        if self.lr_scale is None or done >= self.ramp_samples:
            return self.lr_scale
        return self.ramp_scale + (self.lr_scale - self.ramp_scale) * done / self.ramp_samples

    def following(self, old: "Settings", samples: int) -> "Settings":
        """Return these settings as they come after others, at a number of samples."""
        return self if self.global_batch == old.global_batch else replace(self, batch_since=samples)
