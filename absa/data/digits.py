"""Scikit-learn's handwritten digits: 1,797 real images of 8x8 pixels that need no download."""

import numpy as np
from numpy.typing import NDArray

from absa.data.image_set import ImageSet, make_image_set, make_split
from absa.order import hash_words

_ORIGIN = "scikit-learn's digits"
_FULL_SCALE = 16  # each pixel counts the set bits of a 4x4 block of the scan


def read_digits(evaluation_fraction: float, seed: int) -> ImageSet:
    """Return the digits, split at random within each class.

    Args:
        evaluation_fraction: Share of each class in the test part, in (0, 1).
        seed: Of the split, in [0, 2**64).

    Source: Alpaydin, Kaynak 1998, "Optical recognition of handwritten digits", UCI repository.
    """
    from sklearn.datasets import load_digits  # a second of imports, for those who use it

    digits = load_digits()
    images = np.rint(digits.images * (255 / _FULL_SCALE)).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    in_test = _choose(labels, evaluation_fraction, seed)
    train = make_split(images[~in_test], _ORIGIN, labels[~in_test], _ORIGIN)
    test = make_split(images[in_test], _ORIGIN, labels[in_test], _ORIGIN)
    return make_image_set("digits", train, test, 10, _ORIGIN)


def _choose(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Mark the given share of each class, at least one sample and never all, by random words."""
    words = hash_words(seed, index=np.arange(len(labels)))
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        chosen[members[np.argsort(words[members], kind="stable")[:count]]] = True
    return chosen
