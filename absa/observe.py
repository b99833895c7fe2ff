"""Gathers what an observation says about the updates since the last one."""

import statistics
from dataclasses import dataclass, field

from absa.events import Record
from absa.update.scalars import UpdateResult


@dataclass
class Window:
    """The updates since the last observation."""

    started_s: float
    loss_sum: float = 0.0
    num_samples: int = 0
    num_updates: int = 0
    gradient_norm: float | None = None
    update_s: list[float] = field(default_factory=list)
    last_s: float | None = None

    def add(self, result: UpdateResult, now_s: float) -> None:
        """Count one update that ended at ``now_s``."""
        if result.applied:
            self.loss_sum += result.loss * result.num_samples
            self.num_samples += result.num_samples
            self.num_updates += 1
            self.gradient_norm = result.gradient_norm
        if self.last_s is not None:
            self.update_s.append(now_s - self.last_s)
        self.last_s = now_s

    def interrupt(self) -> None:
        """Forget when the last update ended: what happens now is not part of the next one."""
        self.last_s = None

    def summary(self) -> Record:
        """Return what an observation says of these updates."""
        timed_s = sum(self.update_s)
        per_update = self.num_samples / max(self.num_updates, 1)
        return {
            "loss": self.loss_sum / self.num_samples if self.num_samples else None,
            "gradient_norm": self.gradient_norm,
            "samples_per_s": per_update * len(self.update_s) / timed_s if timed_s else None,
            "update_s": statistics.median(self.update_s) if self.update_s else None,
        }
