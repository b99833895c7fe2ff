"""The ``schedule`` section of a job: the learning rate as a function of progress in samples."""

from typing import Literal

from pydantic import Field

from absa.config import Section


class WarmupConfig(Section):
    """How the learning rate begins (Goyal et al. 2017, section 2.2)."""

    kind: Literal["none", "constant", "gradual"] = "gradual"
    epochs: float = Field(5.0, ge=0)


class DecayConfig(Section):
    """How the learning rate falls after the warm-up."""

    kind: Literal["none", "steps", "polynomial", "cosine"] = "cosine"


class ScheduleConfig(Section):
    """Learning rate = lr * scaling(global batch) * warm-up * decay."""

    scaling: Literal["linear", "sqrt", "none"] = "linear"
    reference_batch: int = Field(64, gt=0)
    warmup: WarmupConfig = WarmupConfig()
    decay: DecayConfig = DecayConfig()
