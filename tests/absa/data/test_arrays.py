"""Folders of .npy files: mapped, never executed, refused by name."""

import contextlib
import random

import numpy as np
import pytest

from absa.data.arrays import ARRAYS, map_array
from absa.errors import DataError


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3)])
def test_written_arrays_come_back_with_a_channel_axis(tmp_path, write_arrays, shape):
    written = write_arrays(tmp_path, shape)
    for split, (images, labels) in zip(ARRAYS.read(ARRAYS.find(tmp_path)), written, strict=True):
        assert split.images.shape == (len(images), 8, 6, shape[2] if len(shape) == 3 else 1)
        assert np.array_equal(split.images.reshape(images.shape), images)
        assert np.array_equal(split.labels, labels)


def test_images_are_mapped_not_read(tmp_path, write_arrays):
    write_arrays(tmp_path)
    images = ARRAYS.read(ARRAYS.find(tmp_path))[0].images
    base = images
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not images.flags.writeable


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "train_labels.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"train_labels\.npy"):
        map_array(path)


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c[:20], lambda c: b"", lambda c: b"P" * 99]
)
def test_damaged_files_are_named(tmp_path, damage):
    path = tmp_path / "train_images.npy"
    np.save(path, np.zeros((4, 8, 8), dtype=np.uint8))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"train_images\.npy"):
        map_array(path)


def test_random_damage_to_the_header_is_refused_or_harmless(tmp_path):
    path = tmp_path / "train_images.npy"
    np.save(path, np.zeros((4, 8, 8), dtype=np.uint8))
    whole, dice = path.read_bytes(), random.Random(0)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            content[dice.randrange(80)] = ord(dice.choice("()[]{}',:0123456789OVu<|if"))
        path.write_bytes(content)
        with contextlib.suppress(DataError):
            map_array(path)


def test_archives_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    path = (tmp_path / "x.npz").rename(tmp_path / "train_labels.npy")
    with pytest.raises(DataError, match="archive"):
        map_array(path)
