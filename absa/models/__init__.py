"""Networks, and the batch-norm whose result does not depend on the micro-batch.

The names are imported when first used: the configuration beside them must not need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from absa.models.build import build_model
    from absa.models.config import ModelConfig
    from absa.models.conversion import convert_batch_norm, revert_batch_norm
    from absa.models.ghost_batch_norm import GhostBatchNorm, batch_norms
    from absa.models.running_statistics import RunningStatistics, statistics_ignored

__all__ = [
    "GhostBatchNorm",
    "ModelConfig",
    "RunningStatistics",
    "batch_norms",
    "build_model",
    "convert_batch_norm",
    "revert_batch_norm",
    "statistics_ignored",
]

_HOMES = {
    "build": ("build_model",),
    "config": ("ModelConfig",),
    "conversion": ("convert_batch_norm", "revert_batch_norm"),
    "ghost_batch_norm": ("GhostBatchNorm", "batch_norms"),
    "running_statistics": ("RunningStatistics", "statistics_ignored"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
