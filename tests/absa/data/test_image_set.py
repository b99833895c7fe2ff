"""Sets of images are checked, and the message names the file."""

import numpy as np
import pytest

from absa.data.image_set import Split, make_image_set, make_split
from absa.errors import DataError

_IMAGES = np.zeros((4, 6, 5, 3), dtype=np.uint8)
_LABELS = np.array([0, 1, 2, 0])


def test_grey_images_get_a_channel():
    split = make_split(_IMAGES[..., 0].copy(), "i", _LABELS, "l")
    assert split.images.shape == (4, 6, 5, 1)


def test_labels_of_any_integer_type_become_int64():
    split = make_split(_IMAGES, "i", _LABELS.astype(np.uint8), "l")
    assert split.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (_IMAGES.astype(np.float32), _LABELS, "images.npy: images are float32"),
        (_IMAGES[:, 0, 0], _LABELS, r"images.npy: images have shape \(4, 3\)"),
        (_IMAGES[:0], _LABELS[:0], "images.npy: holds no image"),
        (_IMAGES[:, :0], _LABELS, "images.npy: holds no image"),
        (_IMAGES.transpose(0, 3, 1, 2).copy(), _LABELS, "images.npy.* channels first"),
        (np.asfortranarray(_IMAGES), _LABELS, "images.npy.* Fortran"),
        (_IMAGES, _LABELS.astype(np.float64), "labels.npy: labels are float64"),
        (_IMAGES, _LABELS.astype(bool), "labels.npy: labels are bool"),
        (_IMAGES, _LABELS[:, None], r"labels.npy: labels have shape \(4, 1\)"),
        (_IMAGES, _LABELS[:0], "labels.npy: holds no label"),
        (_IMAGES, _LABELS - 1, "labels.npy: a label is -1"),
        (_IMAGES, _LABELS[:3], "images.npy has 4 images, but labels.npy has 3 labels"),
    ],
)
def test_wrong_splits_are_refused(images, labels, said):
    if said.endswith("channels first"):
        images = np.zeros((4, 3, 6, 6), dtype=np.uint8)
    with pytest.raises(DataError, match=said):
        make_split(images, "images.npy", labels, "labels.npy")


def _split(labels, shape=(6, 5, 3)):
    return Split(np.zeros((len(labels), *shape), dtype=np.uint8), np.array(labels))


def test_classes_are_counted_by_the_training_labels():
    found = make_image_set("arrays", _split([0, 2, 1]), _split([0]), None, "folder")
    assert found.num_classes == 3
    assert found.image_shape == (3, 6, 5)


@pytest.mark.parametrize(
    ("train", "test", "num_classes", "said"),
    [
        (_split([0, 1]), _split([0], (6, 6, 3)), None, "6x5x3, test images 6x6x3"),
        (_split([0, 1]), _split([2]), None, "a test label is 2, .* 2 classes"),
        (_split([0, 10]), _split([0]), 10, "a training label is 10, .* 0 to 9"),
        (_split([0, 900]), _split([0]), None, "largest training label is 900 among 2"),
    ],
)
def test_sets_that_do_not_fit_together_are_refused(train, test, num_classes, said):
    with pytest.raises(DataError, match=f"^folder: .*{said}"):
        make_image_set("arrays", train, test, num_classes, "folder")
