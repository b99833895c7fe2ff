"""Labelled images as a `Source`, fetched and prepared a batch at a time."""

from typing import NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from absa.data.augmentation import Augmentation
from absa.data.image_set import Split
from absa.data.normalisation import FULL_SCALE, Normalisation
from absa.errors import ConfigError


class RawBatch(TypedDict):
    """Images as they are stored; ``placement`` says how to augment them."""

    image: UInt8[Tensor, "n c h w"]
    label: Int64[Tensor, " n"]
    placement: NotRequired[Int64[Tensor, "n 3"]]


class ImageBatch(TypedDict):
    """What a model takes and is judged by."""

    image: Float[Tensor, "n c h w"]
    label: Int64[Tensor, " n"]


class ImageSource:
    """The samples of one split of an image set.

    Args:
        split: The images, in memory or memory-mapped, and their labels.
        normalisation: Brings pixels to what the model takes; one number per channel.
        augmentation: Done to samples that come with keys.

    Attributes:
        pixel_range: The smallest and the largest value of a pixel before normalisation.

    Raises:
        ConfigError: The normalisation or augmentation does not suit the images.
    """

    pixel_range = (0, FULL_SCALE)

    def __init__(
        self, split: Split, normalisation: Normalisation, augmentation: Augmentation
    ) -> None:
        _check(split.images.shape, normalisation, augmentation)
        self.split = split
        self.normalisation = normalisation
        self.augmentation = augmentation
        # One row of bytes per image: `take` then copies each in one piece.
        self._rows = split.images.reshape(len(split.images), -1)

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: NDArray[np.int64], keys: NDArray[np.uint64] | None) -> RawBatch:
        """Return the images at ``indices`` as bytes; see `absa.task.Source`."""
        rows = torch.from_numpy(self._rows.take(indices, axis=0))
        batch: RawBatch = {
            "image": channels_first(rows, self.split.images.shape),
            "label": torch.from_numpy(self.split.labels.take(indices)),
        }
        if keys is not None and self.augmentation:
            batch["placement"] = torch.from_numpy(self.augmentation.draw(keys))
        return batch

    def transform(self, batch: RawBatch) -> ImageBatch:
        """Augment and normalise a fetched batch on its device."""
        images = batch["image"]
        if "placement" in batch:
            images = self.augmentation.apply(images, batch["placement"])
        return {"image": self.normalisation.apply(images), "label": batch["label"]}


def channels_first(
    rows: UInt8[Tensor, "n bytes"], shape: tuple[int, ...]
) -> UInt8[Tensor, "n c h w"]:
    """Return rows of bytes as images, without a copy.

    Args:
        rows: One image each.
        shape: Of the array they are from: (any, height, width, channels).
    """
    _, height, width, channels = shape
    if channels == 1:  # a permuted view would be taken for channels-last memory
        return rows.view(-1, 1, height, width)
    return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)


def _check(
    shape: tuple[int, ...], normalisation: Normalisation, augmentation: Augmentation
) -> None:
    _, height, width, channels = shape
    if len(normalisation.mean) != channels:
        raise ConfigError(
            f"data.mean and data.std have {len(normalisation.mean)} numbers, the images "
            f"{channels} channels; give one number per channel"
        )
    if augmentation.crop_padding >= min(height, width):
        raise ConfigError(
            f"data.crop_padding is {augmentation.crop_padding}, the images are {height}x{width}; "
            f"allowed: 0 to {min(height, width) - 1}, else a crop may hold nothing of its image"
        )
