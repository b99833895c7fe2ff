"""The root of the configuration: load, validate, resolve."""

from typing import Any, Literal

from pydantic import Field

from absa.batch import BatchConfig
from absa.checkpoint_config import CheckpointConfig
from absa.config import Section
from absa.data.config import DataConfig
from absa.models.config import ModelConfig
from absa.optim.config import OptimizerConfig
from absa.schedules.config import ScheduleConfig
from absa.stop import StopConfig


class TaskConfig(Section):
    """A task of the user's: ``package.module:Class`` and its keyword arguments."""

    use: str
    args: dict[str, Any] = {}


class WorkersConfig(Section):
    """How many processes train, and what each of them holds."""

    min: int = Field(1, gt=0)
    max: int | None = Field(None, gt=0)
    cpus: float = Field(1, gt=0)
    """CPUs that Ray reserves for each worker."""
    gpus: float = Field(0, ge=0)
    threads: int | None = Field(None, gt=0)
    """Intra-op threads of each worker; default: the cores of its machine / workers on it."""


class EvaluateConfig(Section):
    """When the model is judged on the evaluation data."""

    every_epochs: float = Field(1.0, gt=0)
    batch: int = Field(512, gt=0)


class ObserveConfig(Section):
    """How often an observation is recorded."""

    every_updates: int = Field(20, gt=0)


class ClusterConfig(Section):
    """Which Ray cluster to use; no address: a Ray of our own on this machine."""

    address: str | None = None


class Job(Section):
    """Everything a run needs to know."""

    name: str = "digits"
    seed: int = Field(0, ge=0)
    task: TaskConfig | None = None
    """Default: image classification with the ``data`` and ``model`` sections."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    batch: BatchConfig = BatchConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    stop: StopConfig = StopConfig(epochs=60)
    precision: Literal["fp32", "bf16"] = "fp32"
    clip_norm: float | None = Field(None, gt=0)
    max_skipped: int = Field(5, gt=0)
    """Non-finite updates in a row that end the run."""
    evaluate: EvaluateConfig = EvaluateConfig()
    observe: ObserveConfig = ObserveConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    workers: WorkersConfig = WorkersConfig()
    storage: str = "runs"
    """Where run folders are made: a path, ``s3://...`` or ``gs://...``."""
    cluster: ClusterConfig = ClusterConfig()
