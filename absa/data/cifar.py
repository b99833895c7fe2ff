"""CIFAR-10 as it is published: python batches and binary batches.

Both hold images as planes of red, green and blue, 1,024 bytes each, row by row.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images"; layout at
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from absa.data.array_pickle import read_array_pickle
from absa.data.image_set import Split, make_split
from absa.data.layout import Layout, Read
from absa.errors import DataError

_PIXELS = 3 * 32 * 32
_RECORD = 1 + _PIXELS

Batch = tuple[NDArray[np.generic], NDArray[np.uint8]]
"""Labels of shape (n,) and pixels of shape (n, 3072)."""


def read_python_batch(path: Path) -> Batch:
    """Return the labels and pixels of a python batch, without executing what it may contain.

    Raises:
        DataError: The file cannot be read or is no CIFAR batch.
    """
    content = read_array_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a CIFAR batch (a dict)")
    named = {_text(key): value for key, value in content.items()}
    missing = [key for key in ("data", "labels") if key not in named]
    if missing:
        raise DataError(
            f"{path}: has no {' and no '.join(missing)}, only {sorted(named)}: no CIFAR-10 batch"
        )
    data, labels = named["data"], named["labels"]
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2):
        raise DataError(f"{path}: data must be a two-dimensional uint8 array")
    if data.shape[1] != _PIXELS:
        raise DataError(f"{path}: data has {data.shape[1]} bytes per image, not {_PIXELS}")
    if not (isinstance(labels, list) and all(type(n) is int and 0 <= n <= 9 for n in labels)):
        raise DataError(f"{path}: labels must be a list of integers from 0 to 9")
    return np.array(labels, dtype=np.int64), data


def read_binary_batch(path: Path) -> Batch:
    """Return the labels and pixels of a binary batch.

    Raises:
        DataError: The file cannot be read or is no whole number of records.
    """
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if content.size == 0 or content.size % _RECORD:
        raise DataError(
            f"{path}: has {content.size} bytes, no multiple of {_RECORD} (a label and 3x32x32 "
            "pixels); fetch it again"
        )
    records = content.reshape(-1, _RECORD)
    if records[:, 0].max() > 9:
        raise DataError(f"{path}: a label is {records[:, 0].max()}; allowed: 0 to 9")
    return records[:, 0], records[:, 1:]


def _read_with(read_batch: Callable[[Path], Batch]) -> Read:
    def read(paths: Sequence[Path]) -> tuple[Split, Split]:
        *train, test = paths
        batches = [_batch_split(read_batch(path), path) for path in train]
        return _join(batches, train), _batch_split(read_batch(test), test)

    return read


def _batch_split(batch: Batch, path: Path) -> Split:
    labels, pixels = batch
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return make_split(np.ascontiguousarray(images), path, labels, path)


def _join(batches: Sequence[Split], paths: Sequence[Path]) -> Split:
    counts = [len(batch.labels) for batch in batches]
    if len(set(counts)) > 1:
        listed = ", ".join(f"{p.name}: {n}" for p, n in zip(paths, counts, strict=True))
        raise DataError(
            f"{paths[0].parent}: the training batches hold unequal numbers of images ({listed}); "
            "one is not whole: fetch it again"
        )
    return Split(
        np.concatenate([batch.images for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


PYTHON_BATCHES = Layout(
    (*((f"data_batch_{i}",) for i in range(1, 6)), ("test_batch",)), _read_with(read_python_batch)
)
BINARY_BATCHES = Layout(
    (*((f"data_batch_{i}.bin",) for i in range(1, 6)), ("test_batch.bin",)),
    _read_with(read_binary_batch),
)
