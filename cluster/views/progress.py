"""How far a run has come, folded from its records: what every view shows now and at the end."""

from dataclasses import dataclass, replace
from typing import Any

from absa.events import Record
from cluster.views.fields import mapping, number, printable, text
from cluster.views.note import main_metric


@dataclass(frozen=True)
class Progress:
    """The latest known value of everything; None where no record has said it yet."""

    name: str | None = None
    phase: str | None = None
    """What is being waited for; None once the run has started."""
    started: float | None = None
    """Unix time of the first ``run_started``; of the first record until then."""
    now: float | None = None
    """Unix time of the latest record."""
    update: float | None = None
    samples: float | None = None
    generation: float | None = None
    num_train: float | None = None
    total_samples: float | None = None
    fraction: float | None = None
    """How much of the run is done, in [0, 1]."""
    time_left_s: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    global_batch: float | None = None
    workers: float | None = None
    samples_per_s: float | None = None
    noise: float | None = None
    """Gradient noise scale in samples; None where the gradient is not resolved."""
    noise_at_least: float | None = None
    """Lower end of its interval."""
    curvature: float | None = None
    """Largest eigenvalue of the Hessian."""
    metric: str | None = None
    """Name of the metric that stands for the run."""
    last: float | None = None
    """That metric at the last evaluation."""
    best: float | None = None
    """That metric at the best evaluation."""
    end_reason: str | None = None
    seconds: float | None = None
    """How long the run took, once it has ended."""
    skipped: float | None = None
    checkpoint: str | None = None
    path: str | None = None
    report: str | None = None

    @property
    def elapsed_s(self) -> float | None:
        """Seconds from the start of the run to its latest record."""
        if self.started is None or self.now is None:
            return None
        return max(0.0, self.now - self.started)

    @property
    def epoch(self) -> float | None:
        """Passes over the training data so far."""
        return _epochs(self.samples, self.num_train)

    @property
    def total_epochs(self) -> float | None:
        """Passes over the training data when the run ends."""
        return _epochs(self.total_samples, self.num_train)


def _epochs(samples: float | None, num_train: float | None) -> float | None:
    return None if samples is None or not num_train else samples / num_train


def advance(progress: Progress, record: Record) -> Progress:
    """Return the progress after one more record; a null or missing field changes nothing."""
    now = number(record, "time")
    progress = _update(
        progress,
        now=now,
        started=now if progress.started is None else None,
        update=number(record, "update"),
        samples=number(record, "samples"),
        generation=number(record, "generation"),
    )
    match record.get("event"):
        case "phase":
            return _update(progress, phase=text(record, "text"))
        case "run_started":
            return _start(progress, record)
        case "observation":
            return _observe(progress, record)
        case "evaluation":
            return _evaluate(progress, record)
        case "curvature":
            return _update(progress, curvature=number(record, "value"))
        case "checkpoint":
            return _update(progress, checkpoint=text(record, "checkpoint"))
        case "resize":
            return _update(progress, workers=number(record, "after"))
        case "run_ended":
            return _end(progress, record)
        case "run_folder":
            return _update(progress, path=text(record, "path"), report=text(record, "report"))
    return progress


def _update(progress: Progress, **known: Any) -> Progress:
    return replace(progress, **{key: value for key, value in known.items() if value is not None})


def _start(progress: Progress, record: Record) -> Progress:
    return _update(
        replace(progress, phase=None),
        name=text(record, "name"),
        started=number(record, "time"),
        num_train=number(record, "num_train"),
        total_samples=number(record, "total_samples"),
        workers=number(record, "workers"),
    )


def _observe(progress: Progress, record: Record) -> Progress:
    names = ("loss", "learning_rate", "global_batch", "workers", "samples_per_s")
    fraction = number(record, "progress")
    at_least = number(record, "noise_lower")
    if at_least is not None:
        progress = replace(progress, noise=number(record, "noise_scale"), noise_at_least=at_least)
    return _update(
        replace(progress, phase=None, time_left_s=number(record, "time_left_s")),
        fraction=None if fraction is None else min(1.0, max(0.0, fraction)),
        **{name: number(record, name) for name in names},
    )


def _evaluate(progress: Progress, record: Record) -> Progress:
    metrics = mapping(record, "metrics")
    name = main_metric(metrics)
    value = None if name is None else number(metrics, name)
    first = progress.best is None
    return _update(
        progress,
        metric=_label(name),
        last=value,
        best=value if first or record.get("best") else None,
    )


def _label(name: str | None) -> str | None:
    return None if name is None else printable(name) or None


def _end(progress: Progress, record: Record) -> Progress:
    metrics, best = mapping(record, "metrics"), mapping(record, "best_metrics")
    name = main_metric(metrics) or main_metric(best)
    return _update(
        replace(progress, phase=None),
        end_reason=text(record, "reason"),
        seconds=number(record, "seconds"),
        skipped=number(record, "skipped"),
        checkpoint=text(record, "checkpoint"),
        metric=_label(name),
        last=None if name is None else number(metrics, name),
        best=None if name is None else number(best, name),
    )
