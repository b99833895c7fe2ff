"""CIFAR-10 in both published forms."""

import pickle

import numpy as np
import pytest

from absa.data.cifar import BINARY_BATCHES, PYTHON_BATCHES, read_binary_batch, read_python_batch
from absa.errors import DataError


@pytest.mark.parametrize(
    ("form", "layout"), [("python", PYTHON_BATCHES), ("binary", BINARY_BATCHES)]
)
def test_written_batches_come_back_in_order(tmp_path, write_cifar, form, layout):
    written = write_cifar(tmp_path, form)
    for split, (images, labels) in zip(layout.read(layout.find(tmp_path)), written, strict=True):
        assert np.array_equal(split.images, images)
        assert np.array_equal(split.labels, labels)
        assert split.images.flags.c_contiguous


@pytest.mark.parametrize(
    ("form", "layout"), [("python", PYTHON_BATCHES), ("binary", BINARY_BATCHES)]
)
def test_a_batch_cut_short_between_images_is_noticed(tmp_path, write_cifar, form, layout):
    write_cifar(tmp_path, form)
    path = layout.find(tmp_path)[2]
    if form == "binary":
        path.write_bytes(path.read_bytes()[:-3073])
    else:
        labels, data = read_python_batch(path)
        path.write_bytes(pickle.dumps({"labels": labels.tolist()[1:], "data": data[1:]}))
    with pytest.raises(DataError, match=f"{path.name}: 19"):
        layout.read(layout.find(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], "list"),
        ({"data": np.zeros((1, 3072), np.uint8)}, "no labels"),
        ({"labels": [1]}, "no data"),
        ({"labels": [1], "data": np.zeros((1, 3072), np.int64)}, "uint8"),
        ({"labels": [1], "data": [0]}, "uint8"),
        ({"labels": [1], "data": np.zeros((1, 1024), np.uint8)}, "1024 bytes"),
        ({"labels": [10], "data": np.zeros((1, 3072), np.uint8)}, "0 to 9"),
        ({"labels": [-1], "data": np.zeros((1, 3072), np.uint8)}, "0 to 9"),
        ({"labels": [10**30], "data": np.zeros((1, 3072), np.uint8)}, "0 to 9"),
        ({"labels": "cat", "data": np.zeros((1, 3072), np.uint8)}, "list of integers"),
    ],
)
def test_other_pickles_are_refused_by_name(tmp_path, content, said):
    path = tmp_path / "data_batch_3"
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=said) as caught:
        read_python_batch(path)
    assert str(path) in str(caught.value)


def test_labels_that_do_not_match_the_images_are_noticed(tmp_path, write_cifar):
    write_cifar(tmp_path, "python")
    batch = {"labels": [1, 2], "data": np.zeros((3, 3072), np.uint8)}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=r"test_batch has 3 images, .* 2 labels"):
        PYTHON_BATCHES.read(PYTHON_BATCHES.find(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "0 bytes"), (bytes(3072), "3072 bytes"), (b"\x0a" + bytes(3072), "label is 10")],
)
def test_damaged_binary_batches_are_refused_by_name(tmp_path, content, said):
    path = tmp_path / "test_batch.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_binary_batch(path)
    assert str(path) in str(caught.value)
