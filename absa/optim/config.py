"""The ``optimizer`` section of a job."""

from typing import Literal

from pydantic import Field

from absa.config import Section


class OptimizerConfig(Section):
    """Which optimizer steps the weights; ``lr`` is the learning rate at ``schedule.reference_batch``."""

    name: Literal["sgd", "adamw", "lars"] = "sgd"
    lr: float = Field(0.1, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0)
    nesterov: bool = False
