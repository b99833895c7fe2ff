"""The root of the configuration: every section of a job, and the defaults that depend on others."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from absa.adversary.config import AdversaryConfig
from absa.batch import BatchConfig
from absa.checkpoint_config import CheckpointConfig
from absa.config import Section
from absa.curvature.config import CurvatureConfig
from absa.data.config import DataConfig
from absa.models.config import ModelConfig
from absa.noise_scale.config import NoiseScaleConfig
from absa.optim.config import OptimizerConfig
from absa.policy.config import PolicyConfig
from absa.run_folder import RUN_NAME
from absa.schedules.config import ScheduleConfig
from absa.schedules.scaling import ScalingRule
from absa.stop import StopConfig
from cluster.elastic.config import ElasticConfig

MAX_BATCH = 2**31
"""Samples in the first batch: far more than any data set has; bounds the search for divisors."""

_TASK = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def _folder_name(value: str) -> str:
    if not RUN_NAME.fullmatch(value):
        raise ValueError(
            "must begin with a letter or digit and go on with at most 63 letters, digits, '.', "
            "'_' or '-': it names the run's folder"
        )
    return value


def _class_path(value: str) -> str:
    if not _TASK.fullmatch(value):
        raise ValueError("must be written as package.module:Class")
    return value


class TaskConfig(Section):
    """A task of the user's: ``package.module:Class`` and its keyword arguments."""

    use: Annotated[str, AfterValidator(_class_path)]
    args: dict[str, Any] = Field(default_factory=dict)


class WorkersConfig(Section):
    """How many processes train, and what each of them holds."""

    min: int = Field(1, gt=0)
    """Training starts with so many."""
    max: int | None = Field(None, gt=0)
    """Default: ``min``."""
    cpus: float = Field(1, gt=0)
    """CPUs that Ray reserves for each worker."""
    gpus: float = Field(0, ge=0)
    threads: int | None = Field(None, gt=0)
    """Intra-op threads of each worker; default: the cores of its machine / the workers on it (on
    this machine alone: / ``max``, so that it stays the same when workers join)."""
    max_restarts: int = Field(3, ge=0)
    """How often, over the whole run, a group that lost a worker is started again from the newest
    checkpoint. An error of the task is never tried again: it would only come again."""
    wait_s: float = Field(600, gt=0)
    """How long the cluster may take to give ``min`` workers before the run is given up."""
    price_per_hour: float | None = Field(None, gt=0)
    """Of one worker, in any currency: what ``absa plan`` counts the money by."""


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


@dataclass(frozen=True, eq=False)
class Places:
    """Where the values of a job were written; never part of what a job is, so all are equal.

    Args:
        file: What is read when nothing more exact is known, for messages.
        by_path: Key path (``batch.max``) to place (``job.yaml:12``, ``--set batch.max=32``).
    """

    file: str = "job"
    by_path: Mapping[str, str] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places)


class Job(Section):
    """Everything a run needs to know."""

    name: Annotated[str, AfterValidator(_folder_name)] = "run"
    """Begins the name of the run's folder; default: the name of the job file."""
    seed: int = Field(0, ge=0, lt=2**63)
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
    policy: PolicyConfig = PolicyConfig()
    curvature: CurvatureConfig = CurvatureConfig()
    noise_scale: NoiseScaleConfig = NoiseScaleConfig()
    adversary: AdversaryConfig = AdversaryConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    workers: WorkersConfig = WorkersConfig()
    elastic: ElasticConfig = ElasticConfig()
    storage: str = Field("runs", min_length=1)
    """Where run folders are made: a path, ``s3://...`` or ``gs://...``."""
    cluster: ClusterConfig = ClusterConfig()

    _places: Places = PrivateAttr(default_factory=Places)

    @model_serializer(mode="wrap")
    def _without_unread(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the sections that a task replaces: set beside one, they are refused."""
        data: dict[str, Any] = write(self)
        unread = () if self.task is None else ("data", "model")
        return {key: value for key, value in data.items() if key not in unread}

    def is_written(self, path: str) -> bool:
        """Return whether the value at ``path`` was written, not left to its default."""
        return path in self._places.by_path

    def place(self, path: str) -> str:
        """Return where the value at ``path`` was written, to begin a message with.

        Args:
            path: Keys joined by dots, such as ``workers.min``.

        Returns:
            ``job.yaml:12`` or ``--set workers.min=9``; of the nearest section that was written when
            the key was not, and the file alone when nothing of it was.
        """
        keys = path.split(".")
        for length in range(len(keys), 0, -1):
            place = self._places.by_path.get(".".join(keys[:length]))
            if place is not None:
                return place
        return self._places.file


def with_places(job: Job, places: Places) -> Job:
    """Return the same job that also knows where its values were written."""
    placed = job.model_copy()
    placed._places = places
    return placed


def fill_defaults(job: Job) -> Job:
    """Return the job with every default that depends on other values written out.

    - ``batch.max`` and ``batch.micro``: ``batch.initial``; ``workers.max``: ``workers.min``.
    - ``batch.bn_group``: the largest divisor of ``batch.initial`` that gives each of
      ``workers.min`` workers a group, if it is at least 2, else ``batch.initial``. It depends on
      neither ``batch.micro`` nor the workers that join later: they never change the result.

    - ``schedule.scaling``: linear, and with adamw the square root.

    It does not judge: a job that breaks a rule is filled as well.
    """
    initial = job.batch.initial
    batch = {
        "max": job.batch.max or initial,
        "micro": job.batch.micro or initial,
        "bn_group": job.batch.bn_group or _default_group(initial, initial // job.workers.min),
    }
    workers = {"max": job.workers.max or job.workers.min}
    schedule = {"scaling": job.schedule.scaling or _scaling(job)}
    return job.model_copy(
        update={
            "batch": job.batch.model_copy(update=batch),
            "workers": job.workers.model_copy(update=workers),
            "schedule": job.schedule.model_copy(update=schedule),
        }
    )


def _scaling(job: Job) -> ScalingRule:
    return "sqrt" if job.optimizer.name == "adamw" else "linear"


def divisors(number: int) -> list[int]:
    """Return the divisors of a positive number, ascending; in sqrt(number) steps."""
    lower = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({divisor for d in lower for divisor in (d, number // d)})


def _default_group(initial: int, share: int) -> int:
    if initial > MAX_BATCH:
        return initial
    return max((d for d in divisors(initial) if 2 <= d <= share), default=initial)
