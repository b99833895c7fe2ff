"""Averages what the updates tell of the gradient noise."""

import math
from dataclasses import replace

from absa.events import Record
from absa.loop.training import Training
from absa.noise_scale.average import NoiseWindow
from absa.noise_scale.sample import Norms, NormSample
from absa.signals import NoiseScale
from absa.update.precondition import by_trust
from absa.update.scalars import UpdateResult


def is_measured(training: Training) -> bool:
    """Return whether the coming update is to show the gradient noise; the same on every rank.

    Where that costs another update, it has an interval of its own.
    """
    noise, rules = training.instruments.noise, training.rules
    if noise is None:
        return False
    number = training.progress.updates + training.progress.skipped
    every, probe = rules.noise_updates, rules.probe_updates
    is_due = every is not None and _is_due(training, noise.window, every)
    may_probe = probe is not None and number % probe == 0
    if is_due == may_probe:
        return is_due
    num_computing = training.outside.collective.num_computing
    return may_probe == (training.updater.measuring(training.settings, num_computing) == "probe")


def _is_due(training: Training, window: NoiseWindow, every_updates: int) -> bool:
    if training.on_its_way and every_updates > 1:
        return False  # an update has been measured; the average does not know yet
    batch = training.settings.global_batch
    return window.is_due(training.signals.noise, every_updates, batch)


def listen(training: Training, result: UpdateResult) -> None:
    """Take in what an update tells of the gradient noise."""
    noise, sample, known = training.instruments.noise, result.norms, training.signals
    if noise is None or sample is None:
        return
    if any(training.trust):
        if result.weights is not None and known.gradient:
            norms = result.weights, known.gradient
            sample = by_trust(sample, norms, training.trust, training.applied_lr)
        known = replace(known, gradient=_stepped(training, result, sample))
    training.signals = replace(known, noise=noise.window.step(known.noise, sample))


def _stepped(training: Training, result: UpdateResult, sample: NormSample) -> Norms:
    """Return the squared norms of the gradient that the optimizer was given."""
    limit, norm = training.replica.options.clip_norm, result.gradient_norm
    if limit is None or norm <= limit:
        return sample.gradient
    return tuple(each * (limit / norm) ** 2 for each in sample.gradient)


def heard(training: Training) -> Record:
    """Return what an observation says of the gradient noise; None stands for infinite."""
    noise, average = training.instruments.noise, training.signals.noise
    if noise is None or not average.rows:
        return {}
    scales = noise.window.scales(average, noise.confidence)
    whole, seen = scales.whole, scales.preconditioned
    training.last_noise = whole
    return {
        "noise_scale": whole.value,
        "noise_lower": whole.lower if math.isfinite(whole.lower) else None,
        "noise_upper": whole.upper if math.isfinite(whole.upper) else None,
        "noise_trace": whole.trace,
        "gradient_sq": whole.gradient_sq,
        "noise_groups": {name: _short(scale) for name, scale in scales.groups.items()},
        "noise_preconditioned": None if seen is None else _short(seen),
    }


def _short(scale: NoiseScale) -> float | None:
    """Return three digits: there may be many groups, and each observation has them all."""
    return None if scale.value is None else float(f"{scale.value:.3g}")
