"""A folder of ``.npy`` files, memory-mapped: nothing is read before it is used.

``train_images.npy`` and ``test_images.npy`` are uint8 of shape (n, height, width) or
(n, height, width, channels), ``train_labels.npy`` and ``test_labels.npy`` integers of shape (n,).
"""

from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from absa.data.image_set import Split, make_split
from absa.data.layout import Layout
from absa.errors import DataError

# What a damaged header raises in numpy, which parses it as a Python literal.
_MALFORMED = (
    ValueError,
    EOFError,
    SyntaxError,
    TokenError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
)


def map_array(path: Path) -> NDArray[np.generic]:
    """Return the array in a ``.npy`` file, memory-mapped and read-only.

    Raises:
        DataError: The file cannot be read, or is not one whole array of numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, *_MALFORMED) as error:
        # What is no .npy file at all numpy takes for a pickle, and says how to load that unsafely.
        reason = "" if "allow_pickle" in str(error) else f": {error}"
        raise DataError(f"{path}: not a readable .npy file of numbers{reason}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path}: an archive of arrays (.npz); it must be one array (numpy.save)")
    # A memmap's own indexing costs more than the gather: the base class shares its memory.
    return np.asarray(array)


def _read(paths: Sequence[Path]) -> tuple[Split, Split]:
    train_images, train_labels, test_images, test_labels = paths
    return _map_split(train_images, train_labels), _map_split(test_images, test_labels)


def _map_split(images: Path, labels: Path) -> Split:
    return make_split(map_array(images), images, map_array(labels), labels)


ARRAYS = Layout(
    (("train_images.npy",), ("train_labels.npy",), ("test_images.npy",), ("test_labels.npy",)),
    _read,
)
