"""The ``data`` section of a job, read by the built-in image classification task."""

from typing import Literal

from pydantic import Field

from absa.config import Section


class DataConfig(Section):
    """Which images to train on, and how they are augmented."""

    name: Literal["digits", "mnist", "cifar10", "arrays"] = "digits"
    root: str | None = None
    """Folder of the data set; default: the environment variable ``ABSA_DATA``."""
    crop_padding: int = Field(0, ge=0)
    """Random crops from the image padded by so many pixels on each side; 0: none."""
    flip: bool = False
    """Mirror half of the images left to right."""
