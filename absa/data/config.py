"""The ``data`` section of a job, read by the built-in image classification task."""

from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from absa.config import Section


class DataConfig(Section):
    """Which images to train on, and how they are augmented."""

    name: Literal["digits", "mnist", "cifar10", "arrays"] = "digits"
    root: str | None = None
    """Folder of the data set; default: the environment variable ``ABSA_DATA``."""
    evaluation_fraction: float = Field(0.2, gt=0, lt=1)
    """Share of each class of ``digits`` that is kept for evaluation; other sets have their own."""
    crop_padding: int = Field(0, ge=0)
    """Random crops from the image padded by so many pixels on each side; 0: none."""
    flip: bool = False
    """Mirror half of the images left to right."""
    mean: tuple[float, ...] | None = Field(None, min_length=1)
    """Of each channel, pixels counted from 0 to 1; default: that of the training images."""
    std: tuple[PositiveFloat, ...] | None = Field(None, min_length=1)
    """Of each channel, pixels counted from 0 to 1; default: that of the training images."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the training target that is spread over all classes (Szegedy et al. 2016,
    arXiv:1512.00567, section 7)."""

    @model_validator(mode="after")
    def _mean_goes_with_std(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError(
                f"data.mean is {self.mean} and data.std is {self.std}: give both or neither"
            )
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(
                f"data.mean has {len(self.mean)} channels and data.std has {len(self.std)}: "
                "give one number per channel in both"
            )
        return self
