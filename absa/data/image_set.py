"""A data set of labelled images, checked before anything is computed from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray

from absa.errors import DataError

Place = Path | str
"""Where an array comes from, for messages."""


@dataclass(frozen=True)
class Split:
    """Images with their labels; ``images`` may be memory-mapped.

    Args:
        images: Pixels from 0 to 255.
        labels: One class per image, from 0.
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class ImageSet:
    """The training and the test part of a data set."""

    name: str
    train: Split
    test: Split
    num_classes: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return (channels, height, width)."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width


def make_split(
    images: NDArray[np.generic], images_from: Place, labels: NDArray[np.generic], labels_from: Place
) -> Split:
    """Return the images and labels as a split, grey images with a channel of their own.

    Args:
        images: Of shape (n, h, w) or (n, h, w, c).
        images_from: Where they were read.
        labels: Of shape (n,).
        labels_from: Where they were read.

    Raises:
        DataError: A shape, type or value is wrong, the two do not match, or there are none.
    """
    checked = _check_images(images, images_from)
    classes = _check_labels(labels, labels_from)
    if len(checked) != len(classes):
        raise DataError(
            f"{images_from} has {len(checked)} images, but {labels_from} has {len(classes)} "
            "labels; there must be one label for each image"
        )
    return Split(checked, classes)


def make_image_set(
    name: str, train: Split, test: Split, num_classes: int | None, origin: Place
) -> ImageSet:
    """Return the two splits as a data set.

    Args:
        name: Of the data set.
        train: The training part.
        test: The test part.
        num_classes: How many classes the set has; None: one more than the largest training label.
        origin: Folder or file that the set was read from.

    Raises:
        DataError: Image sizes differ, or a label lies beyond the classes.
    """
    sizes = train.images.shape[1:], test.images.shape[1:]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{origin}: training images are {_size(sizes[0])}, test images {_size(sizes[1])}; "
            "they must be of one size"
        )
    largest = int(train.labels.max())
    if num_classes is None and largest >= len(train.labels):
        raise DataError(
            f"{origin}: the largest training label is {largest} among {len(train.labels)} samples; "
            "labels must count the classes 0, 1, 2, ..."
        )
    classes = largest + 1 if num_classes is None else num_classes
    for part, labels in (("training", train.labels), ("test", test.labels)):
        if labels.max() >= classes:
            raise DataError(
                f"{origin}: a {part} label is {labels.max()}, but {name} has {classes} classes; "
                f"allowed: 0 to {classes - 1}"
            )
    return ImageSet(name, train, test, classes)


def _check_images(images: NDArray[np.generic], origin: Place) -> NDArray[np.uint8]:
    if images.dtype != np.uint8:
        raise DataError(
            f"{origin}: images are {images.dtype}; they must be uint8, pixels from 0 to 255"
        )
    if images.ndim not in (3, 4):
        raise DataError(
            f"{origin}: images have shape {images.shape}; allowed: (n, height, width) and "
            "(n, height, width, channels)"
        )
    if images.size == 0:
        raise DataError(f"{origin}: holds no image (shape {images.shape})")
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[2] == images.shape[3] > 4:
        raise DataError(
            f"{origin}: images have shape {images.shape}, which looks like channels first; store "
            "them as (n, height, width, channels)"
        )
    if not images.flags.c_contiguous:
        raise DataError(
            f"{origin}: images are stored in Fortran order; save numpy.ascontiguousarray(images)"
        )
    shape = images.shape if images.ndim == 4 else (*images.shape, 1)
    return images.view(np.uint8).reshape(shape)


def _check_labels(labels: NDArray[np.generic], origin: Place) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu":
        raise DataError(f"{origin}: labels are {labels.dtype}; they must be integers")
    if labels.ndim != 1:
        raise DataError(f"{origin}: labels have shape {labels.shape}; they must be (n,)")
    if len(labels) == 0:
        raise DataError(f"{origin}: holds no label")
    if labels.min() < 0:
        raise DataError(f"{origin}: a label is {labels.min()}; labels count from 0")
    return labels.astype(np.int64)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
