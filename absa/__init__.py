"""The short public API: ``from absa import LARS``.

A name is imported when it is first used: ``import absa`` costs nothing, and the parts that decide
need no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from absa.errors import (
        AbsaError,
        CheckpointError,
        ClusterError,
        ConfigError,
        DataError,
        DivergenceError,
        TaskError,
    )
    from absa.models.build import build_model
    from absa.models.config import ModelConfig
    from absa.models.conversion import convert_batch_norm, revert_batch_norm
    from absa.models.ghost_batch_norm import GhostBatchNorm
    from absa.optim.lars import LARS
    from absa.order import SampleOrder, next_range
    from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
    from absa.schedules.learning_rate import LearningRate, learning_rate
    from absa.task import Datasets, Source, Task

__all__ = [
    "LARS",
    "AbsaError",
    "CheckpointError",
    "ClusterError",
    "ConfigError",
    "DataError",
    "Datasets",
    "DecayConfig",
    "DivergenceError",
    "GhostBatchNorm",
    "LearningRate",
    "ModelConfig",
    "SampleOrder",
    "ScheduleConfig",
    "Source",
    "Task",
    "TaskError",
    "WarmupConfig",
    "build_model",
    "convert_batch_norm",
    "learning_rate",
    "next_range",
    "revert_batch_norm",
]

_HOMES = {
    "errors": (
        "AbsaError",
        "CheckpointError",
        "ClusterError",
        "ConfigError",
        "DataError",
        "DivergenceError",
        "TaskError",
    ),
    "models.build": ("build_model",),
    "models.config": ("ModelConfig",),
    "models.conversion": ("convert_batch_norm", "revert_batch_norm"),
    "models.ghost_batch_norm": ("GhostBatchNorm",),
    "optim.lars": ("LARS",),
    "order": ("SampleOrder", "next_range"),
    "schedules.config": ("DecayConfig", "ScheduleConfig", "WarmupConfig"),
    "schedules.learning_rate": ("LearningRate", "learning_rate"),
    "task": ("Datasets", "Source", "Task"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
