"""Images kept on the device: a batch then costs a gather there instead of a transfer."""

from typing import NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from absa.data.images import ImageBatch, ImageSource, RawBatch, channels_first
from absa.task import Source

PIECE_BYTES = 64 << 20
"""Every worker of a machine copies at the same time: a whole set each may be too much for it."""


class IndexBatch(TypedDict):
    """Which images, and how to augment them."""

    index: Int64[Tensor, " n"]
    placement: NotRequired[Int64[Tensor, "n 3"]]


class ResidentImages:
    """The same samples as an `ImageSource`, whose bytes lie on one device.

    Args:
        source: Copied to the device whole.
        device: Where batches are transformed.
    """

    def __init__(self, source: ImageSource, device: torch.device) -> None:
        self.source = source
        self._rows = _moved(source.split.images, device)
        self._labels = torch.from_numpy(source.split.labels).to(device)

    def __len__(self) -> int:
        return len(self.source)

    def fetch(self, indices: NDArray[np.int64], keys: NDArray[np.uint64] | None) -> IndexBatch:
        """Return the indices and what the keys say; see `absa.task.Source`."""
        batch: IndexBatch = {"index": torch.from_numpy(indices)}
        if keys is not None and self.source.augmentation:
            batch["placement"] = torch.from_numpy(self.source.augmentation.draw(keys))
        return batch

    def transform(self, batch: IndexBatch) -> ImageBatch:
        """Gather, augment and normalise on the device."""
        index = batch["index"]
        rows = self._rows.index_select(0, index)
        raw: RawBatch = {
            "image": channels_first(rows, self.source.split.images.shape),
            "label": self._labels.index_select(0, index),
        }
        if "placement" in batch:
            raw["placement"] = batch["placement"]
        return self.source.transform(raw)


def _moved(images: UInt8[np.ndarray, "n h w c"], device: torch.device) -> UInt8[Tensor, "n bytes"]:
    """Return a copy on the device, one row per image; the host never holds more than a piece."""
    rows = torch.empty(len(images), images[0].size, dtype=torch.uint8, device=device)
    pieces = range(0, len(images), max(PIECE_BYTES // images[0].nbytes, 1))
    for start in pieces:
        # np.array: torch warns of read-only memory, which a mapped file is.
        piece = torch.from_numpy(np.array(images[start : start + pieces.step]))
        rows[start : start + pieces.step] = piece.view(len(piece), -1)
    return rows


def keep_on_device(source: Source, device: torch.device, budget_bytes: int) -> Source:
    """Return the source with its images on the device if that is a GPU and they fit the budget."""
    if device.type != "cuda" or not isinstance(source, ImageSource):
        return source
    return ResidentImages(source, device) if source.split.images.nbytes <= budget_bytes else source
