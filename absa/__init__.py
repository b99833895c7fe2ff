"""The short public API: ``from absa import LARS``.

A name is imported when it is first used: ``import absa`` costs nothing, and the parts that decide
need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from absa.curvature.density import spectral_density
    from absa.curvature.forward_over_reverse import HessianForward
    from absa.curvature.gauss_newton import GaussNewton
    from absa.curvature.hessian import Hessian
    from absa.curvature.problem import Problem
    from absa.curvature.pyhessian import PyHessianTracker
    from absa.curvature.trace import trace
    from absa.curvature.tracker import HessianTracker, TrackerState
    from absa.errors import (
        AbsaError,
        CheckpointError,
        ClusterError,
        ConfigError,
        DataError,
        DivergenceError,
        MeasurementError,
        TaskError,
    )
    from absa.models.build import build_model
    from absa.models.config import ModelConfig
    from absa.models.conversion import convert_batch_norm, revert_batch_norm
    from absa.models.ghost_batch_norm import GhostBatchNorm
    from absa.noise_scale.average import NoiseAverage, NoiseWindow
    from absa.noise_scale.branch import Branches, check_by_branches
    from absa.noise_scale.groups import layer_groups
    from absa.noise_scale.per_sample import per_sample_norms
    from absa.noise_scale.sample import NormSample
    from absa.noise_scale.units import GradientUnits, LoopOptions
    from absa.optim.lars import LARS
    from absa.order import SampleOrder, next_range
    from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
    from absa.schedules.learning_rate import LearningRate, learning_rate
    from absa.signals import Curvature, FallTest, NoiseScale, NoiseScales
    from absa.task import Datasets, Source, Task

__all__ = [
    "LARS",
    "AbsaError",
    "Branches",
    "CheckpointError",
    "ClusterError",
    "ConfigError",
    "Curvature",
    "DataError",
    "Datasets",
    "DecayConfig",
    "DivergenceError",
    "FallTest",
    "GaussNewton",
    "GhostBatchNorm",
    "GradientUnits",
    "Hessian",
    "HessianForward",
    "HessianTracker",
    "LearningRate",
    "LoopOptions",
    "MeasurementError",
    "ModelConfig",
    "NoiseAverage",
    "NoiseScale",
    "NoiseScales",
    "NoiseWindow",
    "NormSample",
    "Problem",
    "PyHessianTracker",
    "SampleOrder",
    "ScheduleConfig",
    "Source",
    "Task",
    "TaskError",
    "TrackerState",
    "WarmupConfig",
    "build_model",
    "check_by_branches",
    "convert_batch_norm",
    "layer_groups",
    "learning_rate",
    "next_range",
    "per_sample_norms",
    "revert_batch_norm",
    "spectral_density",
    "trace",
]

_HOMES = {
    "curvature.density": ("spectral_density",),
    "curvature.forward_over_reverse": ("HessianForward",),
    "curvature.gauss_newton": ("GaussNewton",),
    "curvature.hessian": ("Hessian",),
    "curvature.problem": ("Problem",),
    "curvature.pyhessian": ("PyHessianTracker",),
    "curvature.trace": ("trace",),
    "curvature.tracker": (
        "HessianTracker",
        "TrackerState",
    ),
    "errors": (
        "AbsaError",
        "CheckpointError",
        "ClusterError",
        "ConfigError",
        "DataError",
        "DivergenceError",
        "MeasurementError",
        "TaskError",
    ),
    "models.build": ("build_model",),
    "models.config": ("ModelConfig",),
    "models.conversion": (
        "convert_batch_norm",
        "revert_batch_norm",
    ),
    "models.ghost_batch_norm": ("GhostBatchNorm",),
    "noise_scale.average": (
        "NoiseAverage",
        "NoiseWindow",
    ),
    "noise_scale.branch": (
        "Branches",
        "check_by_branches",
    ),
    "noise_scale.groups": ("layer_groups",),
    "noise_scale.per_sample": ("per_sample_norms",),
    "noise_scale.sample": ("NormSample",),
    "noise_scale.units": (
        "GradientUnits",
        "LoopOptions",
    ),
    "optim.lars": ("LARS",),
    "order": (
        "SampleOrder",
        "next_range",
    ),
    "schedules.config": (
        "DecayConfig",
        "ScheduleConfig",
        "WarmupConfig",
    ),
    "schedules.learning_rate": (
        "LearningRate",
        "learning_rate",
    ),
    "signals": (
        "Curvature",
        "FallTest",
        "NoiseScale",
        "NoiseScales",
    ),
    "task": (
        "Datasets",
        "Source",
        "Task",
    ),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
