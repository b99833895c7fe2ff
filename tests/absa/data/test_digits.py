"""The digits that come with scikit-learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from absa.data.digits import read_digits


def test_every_digit_is_in_one_part_of_the_split():
    digits = read_digits(0.2, seed=0)
    kept = np.concatenate([digits.train.images, digits.test.images])[..., 0]
    original = load_digits().images
    assert kept.shape == (1797, 8, 8)
    assert np.array_equal(
        np.sort(kept.reshape(1797, -1) @ np.arange(64.0)),
        np.sort(np.rint(original * 255 / 16).reshape(1797, -1) @ np.arange(64.0)),
    )


def test_pixels_use_the_whole_range():
    images = read_digits(0.2, seed=0).train.images
    assert (images.min(), images.max(), images.dtype) == (0, 255, np.uint8)


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_each_class_gives_the_same_share(fraction):
    digits = read_digits(fraction, seed=3)
    shares = np.bincount(digits.test.labels) / np.bincount(load_digits().target)
    assert np.abs(shares - fraction).max() < 0.5 / 174


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_both_parts_hold_every_class(fraction):
    digits = read_digits(fraction, seed=3)
    assert set(digits.train.labels) == set(digits.test.labels) == set(range(10))


def test_the_seed_decides_the_split():
    one, same, other = (read_digits(0.2, seed).test.images for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
