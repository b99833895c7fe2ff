"""Observations for policies, with everything left out that a test does not speak of."""

import math
from typing import Any

from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.signals import Curvature, NoiseScale

EPOCH = 1000
"""Samples in one epoch."""

LIMITS = Limits(max_batch=1024, min_batch=64, unit=32)


def curvature(value: float, lower: float | None = None, upper: float | None = None) -> Curvature:
    return Curvature(
        values=(value,),
        residuals=(0.0,),
        lower=value if lower is None else lower,
        upper=value if upper is None else upper,
        failure_probability=0.001,
        stopped="tolerance",
        num_products=3,
        num_samples=32,
        seconds=0.1,
    )


def noise(lower: float, upper: float = math.inf, value: float | None = None) -> NoiseScale:
    return NoiseScale(value, lower, upper, 1.0, 1.0, 0.9, 100.0)


def seen(epoch: float = 1.0, batch: int = 64, **changes: Any) -> Observation:
    samples = round(epoch * EPOCH)
    said = {
        "update": samples // batch,
        "samples": samples,
        "num_train": EPOCH,
        "total_samples": 90 * EPOCH,
        "global_batch": batch,
        "lr_scale": batch / 64,
        "base_lr": 0.1,
    }
    if "curvature" in changes:
        said["curvature_at"] = samples
    return Observation(**{**said, **changes})
