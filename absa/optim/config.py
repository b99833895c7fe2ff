"""The ``optimizer`` section of a job."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from absa.choice import ChoiceSection

Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(ChoiceSection):
    """Which optimizer steps the weights, and how.

    An option that the named optimizer does not read must be left out. Those it reads have defaults:
    SGD's are common practice for small images, AdamW's are PyTorch's, LARS's are the paper's
    (arXiv:1708.03888), except that one-dimensional tensors are excluded, as in every MLPerf recipe.
    """

    choice: ClassVar[str] = "name"
    reads: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "sgd": {
            "lr": 0.1,
            "weight_decay": 5e-4,
            "momentum": 0.9,
            "nesterov": False,
            "decay_one_dimensional": True,
        },
        "adamw": {
            "lr": 1e-3,
            "weight_decay": 1e-2,
            "betas": (0.9, 0.999),
            "eps": 1e-8,
            "decay_one_dimensional": True,
        },
        "lars": {
            "lr": 1.0,
            "weight_decay": 5e-4,
            "momentum": 0.9,
            "nesterov": False,
            "trust_coefficient": 1e-3,
            "eps": 0.0,
            "exclude": "one_dimensional",
            "adaptation": "scale",
            "lr_placement": "inside",
        },
    }

    name: Literal["sgd", "adamw", "lars"] = "sgd"
    lr: float = Field(0.1, ge=0)
    """Learning rate at ``schedule.reference_batch``. Default: sgd 0.1, adamw 0.001, lars 1."""
    weight_decay: float = Field(5e-4, ge=0)
    """Default: sgd and lars 5e-4 (added to the gradient), adamw 0.01 (decoupled)."""
    momentum: float | None = Field(None, ge=0, lt=1)
    """sgd, lars; default 0.9."""
    nesterov: bool | None = None
    """sgd, lars; default false."""
    decay_one_dimensional: bool | None = None
    """sgd, adamw: also decay tensors with at most one dimension (biases, normalisation);
    default true, as PyTorch does."""
    betas: tuple[Beta, Beta] | None = None
    """adamw; default [0.9, 0.999]."""
    eps: float | None = Field(None, ge=0)
    """Added to the denominator; adamw: default 1e-8, lars: default 0."""
    trust_coefficient: float | None = Field(None, gt=0)
    """lars: share of its norm that a tensor may move at learning rate 1; default 0.001."""
    exclude: Literal["none", "one_dimensional"] | None = None
    """lars: tensors that move at the plain learning rate without weight decay."""
    adaptation: Literal["scale", "clip"] | None = None
    """lars: scale the learning rate by the trust ratio, or bound it by the trust ratio (LARC)."""
    lr_placement: Literal["inside", "outside"] | None = None
    """lars: whether the momentum holds updates (as in the paper) or gradients free of the
    learning rate."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError(
                "nesterov = true needs momentum > 0, got momentum = 0: set momentum (0.9 is "
                "usual) or nesterov = false"
            )
        return self
