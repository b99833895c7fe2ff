"""Gathers what an observation says about the updates since the last one."""

import statistics
from dataclasses import dataclass, field

from absa.events import Record
from absa.progress import Progress
from absa.stop import StopConfig, total_samples
from absa.update.scalars import UpdateResult


@dataclass
class Window:
    """The updates since the last observation.

    Args:
        last_s: When the last update before them ended, or None if something came between.
    """

    last_s: float | None = None
    loss_sum: float = 0.0
    weight: float = 0.0
    num_samples: int = 0
    num_updates: int = 0
    gradient_norm: float | None = None
    update_s: list[float] = field(default_factory=list)

    def add(self, result: UpdateResult, now_s: float) -> None:
        """Count one update that ended at ``now_s``; of a skipped one, only the time."""
        if result.applied:
            self.loss_sum += result.loss * result.weight
            self.weight += result.weight
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
            "loss": self.loss_sum / self.weight if self.weight else None,
            "gradient_norm": self.gradient_norm,
            "samples_per_s": per_update * len(self.update_s) / timed_s if timed_s else None,
            "update_s": statistics.median(self.update_s) if self.update_s else None,
        }


def forecast(
    stop: StopConfig, progress: Progress, num_train: int, spent_s: float
) -> tuple[float | None, float | None]:
    """Return the share of a run that is done and the seconds that are left, each if known.

    Args:
        stop: When it ends; the limit that is nearest counts, a target accuracy does not.
        progress: How far it has come.
        num_train: Samples in one epoch.
        spent_s: Seconds of training so far.
    """
    total = total_samples(stop, num_train)
    shares = [
        progress.samples / total if total else None,
        progress.updates / stop.updates if stop.updates else None,
        spent_s / stop.time_s if stop.time_s else None,
    ]
    known = [min(share, 1.0) for share in shares if share is not None]
    if not known:
        return None, None
    done = max(known)
    return done, spent_s * (1.0 - done) / done if done else None
