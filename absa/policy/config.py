"""The ``policy`` section of a job: who decides how large the batch is."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from absa.choice import ChoiceSection
from absa.config import Section

Kind = Literal["fixed", "clock", "schedule", "abs", "absa", "noise_scale", "hybrid"]

_CURVATURE: Mapping[str, Any] = {"alpha": 2.0, "patience_epochs": None, "reference_epochs": 1.0}


class BatchWarmupConfig(Section):
    """A batch that grows from the start, its learning rate with it."""

    epochs: float = Field(gt=0)
    """How long it grows."""
    to_batch: int = Field(gt=0)
    """What it grows to; the policy decides from there on."""


class PolicyConfig(ChoiceSection):
    """How the batch grows, up to ``batch.max``."""

    choice: ClassVar[str] = "kind"
    reads: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fixed": {},
        "clock": {"every_epochs": None, "factor": 2.0},
        "schedule": {"factor": 2.0},
        "abs": {"factor": 2.0, **_CURVATURE},
        "absa": {
            "factor": 2.0,
            **_CURVATURE,
            "adversarial_ratio": 0.2,
            "adversarial_until": 0.5,
        },
        "noise_scale": {"factor": 2.0, "ratio": 1.0, "shrinks": False},
        "hybrid": {"factor": 2.0, "ratio": 1.0, "most": 4.0, **_CURVATURE},
    }

    kind: Kind = "hybrid"
    """fixed: as it is; clock: every so many epochs; schedule: instead of the decay of the learning
    rate; abs, absa: by curvature and patience (absa: with adversarial samples); noise_scale: by the
    gradient noise scale; hybrid: by noise scale, curvature and patience."""
    factor: float | None = Field(None, gt=1)
    """What the batch grows by."""
    every_epochs: float | None = Field(None, gt=0)
    """clock: epochs between two growths; default: an eleventh of the training."""
    alpha: float | None = Field(None, gt=1)
    """abs, absa, hybrid: the eigenvalue has fallen when it is below the reference / alpha."""
    patience_epochs: float | None = Field(None, gt=0)
    """abs, absa, hybrid: so many epochs without growth grow it; default: a ninth of the training,
    10 if its length in epochs is not known."""
    reference_epochs: float | None = Field(None, ge=0)
    """abs, absa, hybrid: the first reference is measured after so many."""
    adversarial_ratio: float | None = Field(None, ge=0, le=1)
    """absa: share of each batch that is perturbed at first."""
    adversarial_until: float | None = Field(None, ge=0, le=1)
    """absa: share of the training after which nothing is perturbed."""
    ratio: float | None = Field(None, gt=0)
    """noise_scale, hybrid: batch / noise scale to aim at."""
    most: float | None = Field(None, gt=0)
    """hybrid: curvature and patience may grow the batch to so many times the noise scale."""
    shrinks: bool | None = None
    """noise_scale: whether the batch may become smaller again."""
    warmup: BatchWarmupConfig | None = None
    """Grow from the start, before the policy decides."""
    lr_margin: float | None = Field(None, gt=0)
    """sgd: growth of the learning rate stops at this share of the stability limit that the
    curvature sets; null: nowhere."""
    ramp_updates: int = Field(0, ge=0)
    """Over how many updates the learning rate climbs after a growth."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.most is not None and self.ratio is not None and self.most < self.ratio:
            raise ValueError(
                f"most = {self.most:g} is below ratio = {self.ratio:g}: what the noise scale alone "
                "grows the batch to would be too much for the other rules; raise most"
            )
        return self
