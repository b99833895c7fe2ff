"""MNIST's IDX files, plain or gzipped.

Source: LeCun et al., "The MNIST database", section "file formats for the MNIST database".
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from absa.data.image_set import Split, make_split
from absa.data.layout import Layout
from absa.errors import DataError

_UINT8 = 0x08  # the type code of unsigned bytes, the only one MNIST uses


def read_idx(path: Path, num_dimensions: int) -> NDArray[np.uint8]:
    """Return the array of bytes in an IDX file.

    Args:
        path: Gzipped if its name ends in ``.gz``.
        num_dimensions: How many the array must have.

    Raises:
        DataError: The file cannot be read, or is not such an array, whole and with nothing after.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            shape = _read_header(file, path, num_dimensions)
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}; fetch it again") from error
    if len(content) != math.prod(shape):
        raise DataError(
            f"{path}: the header says {math.prod(shape)} bytes of data (shape {shape}), "
            f"{len(content)} follow; fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _read_header(file: BinaryIO | gzip.GzipFile, path: Path, num_dimensions: int) -> list[int]:
    magic, expected = file.read(4), bytes([0, 0, _UINT8, num_dimensions])
    if magic != expected:
        raise DataError(
            f"{path}: begins with the bytes {magic.hex(' ') or '(none)'}, not {expected.hex(' ')}: "
            f"no IDX file of unsigned bytes with {num_dimensions} dimensions"
        )
    header = file.read(4 * num_dimensions)
    if len(header) != 4 * num_dimensions:
        raise DataError(f"{path}: ends within its header; fetch it again")
    return list(struct.unpack(f">{num_dimensions}I", header))


def _names(stem: str, kind: str) -> tuple[str, ...]:
    # Some unpackers leave a dot where the published name has a hyphen.
    return tuple(f"{stem}{mark}{kind}{end}" for mark in "-." for end in ("", ".gz"))


def _read(paths: Sequence[Path]) -> tuple[Split, Split]:
    train_images, train_labels, test_images, test_labels = paths
    return _read_split(train_images, train_labels), _read_split(test_images, test_labels)


def _read_split(images: Path, labels: Path) -> Split:
    return make_split(read_idx(images, 3), images, read_idx(labels, 1), labels)


IDX = Layout(
    (
        _names("train-images", "idx3-ubyte"),
        _names("train-labels", "idx1-ubyte"),
        _names("t10k-images", "idx3-ubyte"),
        _names("t10k-labels", "idx1-ubyte"),
    ),
    _read,
)
