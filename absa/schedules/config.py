"""The ``schedule`` section of a job: the learning rate as a function of progress in samples."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from absa.choice import ChoiceSection
from absa.config import Section

Epoch = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class WarmupConfig(Section):
    """How the learning rate begins (Goyal et al. 2017, arXiv:1706.02677, section 2.2).

    A warm-up leads from the learning rate of the reference batch to that of the global batch, so
    it changes nothing while the global batch is the reference batch.
    """

    kind: Literal["none", "constant", "gradual"] = "gradual"
    """constant: hold the unscaled learning rate, then jump; gradual: climb in a straight line."""
    epochs: float = Field(5.0, ge=0)
    """How long the warm-up lasts; 0 is none."""


class DecayConfig(ChoiceSection):
    """How the learning rate falls.

    Steps are counted over the whole run; the smooth decays run from the end of the warm-up to the
    end of training, so that the peak is reached.
    """

    choice: ClassVar[str] = "kind"
    reads: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "none": {},
        "steps": {"epochs": None, "fractions": None, "factor": 0.1},
        "polynomial": {"power": 2.0, "end_lr": 0.0},
        "cosine": {"end_fraction": 0.0},
    }

    kind: Literal["none", "steps", "polynomial", "cosine"] = "cosine"
    epochs: tuple[Epoch, ...] | None = Field(None, min_length=1)
    """steps: the epochs at which the learning rate falls, ascending."""
    fractions: tuple[Fraction, ...] | None = Field(None, min_length=1)
    """steps: the same as fractions of the whole training."""
    factor: float | None = Field(None, gt=0, le=1)
    """steps: what the learning rate is multiplied with at each step; default 0.1."""
    power: float | None = Field(None, gt=0)
    """polynomial: 1 is a straight line; default 2."""
    end_lr: float | None = Field(None, ge=0)
    """polynomial: learning rate at the end, whatever the batch; default 0."""
    end_fraction: float | None = Field(None, ge=0, le=1)
    """cosine: learning rate at the end as a fraction of its peak; default 0."""

    @model_validator(mode="after")
    def _steps_once_and_ascending(self) -> Self:
        if self.kind != "steps":
            return self
        if (self.epochs is None) == (self.fractions is None):
            got = "neither" if self.epochs is None else "both"
            raise ValueError(f"kind = steps needs epochs or fractions, one of the two; got {got}")
        steps = self.epochs or self.fractions or ()
        if any(a >= b for a, b in pairwise(steps)):
            name = "fractions" if self.epochs is None else "epochs"
            raise ValueError(f"{name} must ascend, got {list(steps)}")
        return self


class ScheduleConfig(Section):
    """Learning rate = optimizer.lr, scaled with the batch, warmed up and decayed."""

    scaling: Literal["linear", "sqrt", "none", "gain"] | None = None
    """How it grows with global batch / reference_batch; gain: AdaScale's, by the noise scale.
    Default: linear; in a job with adamw the square root."""
    reference_batch: int = Field(64, gt=0)
    """The batch that ``optimizer.lr`` is meant for [samples]."""
    warmup: WarmupConfig = WarmupConfig()
    decay: DecayConfig = DecayConfig()
