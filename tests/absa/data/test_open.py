"""Finding a data set, and saying what is missing."""

import numpy as np
import pytest
from pydantic import ValidationError

from absa.data.config import DataConfig
from absa.data.normalisation import Normalisation, measure
from absa.data.open import normalisation_of, open_data
from absa.errors import DataError


def _open(name, root, **more):
    return open_data(DataConfig(name=name, root=str(root), **more), seed=0)


@pytest.mark.parametrize("folder", [".", "mnist", "MNIST/raw", "MNIST"])
@pytest.mark.parametrize("gzipped", [False, True])
def test_mnist_is_found(tmp_path, write_mnist, folder, gzipped):
    (images, labels), _ = write_mnist(tmp_path / folder, gzipped=gzipped)
    found = _open("mnist", tmp_path)
    assert np.array_equal(found.train.images[..., 0], images)
    assert np.array_equal(found.train.labels, labels)
    assert (found.image_shape, found.num_classes) == ((1, 28, 28), 10)


@pytest.mark.parametrize(
    ("folder", "form"),
    [
        (".", "python"),
        (".", "binary"),
        ("cifar10", "python"),
        ("cifar-10-batches-py", "python"),
        ("cifar-10-batches-bin", "binary"),
    ],
)
def test_cifar10_is_found(tmp_path, write_cifar, folder, form):
    _, (images, labels) = write_cifar(tmp_path / folder, form)
    found = _open("cifar10", tmp_path)
    assert np.array_equal(found.test.images, images)
    assert np.array_equal(found.test.labels, labels)
    assert (found.image_shape, found.num_classes) == ((3, 32, 32), 10)


@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28)), ("cifar10", (32, 32, 3))])
@pytest.mark.parametrize("named", [False, True])
def test_published_sets_are_found_as_arrays(tmp_path, write_arrays, name, shape, named):
    (images, _), _ = write_arrays(tmp_path / name if named else tmp_path, shape)
    assert np.array_equal(_open(name, tmp_path).train.images.reshape(images.shape), images)


def test_a_folder_of_arrays_is_any_set(tmp_path, write_arrays):
    write_arrays(tmp_path, (9, 7, 2))
    found = _open("arrays", tmp_path)
    assert (found.image_shape, found.num_classes) == ((2, 9, 7), 10)


def test_the_environment_names_the_folder(tmp_path, write_mnist, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setenv("ABSA_DATA", str(tmp_path))
    assert len(open_data(DataConfig(name="mnist"), seed=0).train.labels) == 30


def test_the_job_goes_before_the_environment(tmp_path, write_mnist, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setenv("ABSA_DATA", str(tmp_path / "elsewhere"))
    assert len(_open("mnist", tmp_path).train.labels) == 30


@pytest.mark.parametrize(
    ("name", "expected", "published"),
    [
        ("mnist", "train-images-idx3-ubyte", "yann.lecun.com"),
        ("cifar10", "data_batch_1", "cs.toronto.edu"),
        ("arrays", "train_images.npy", ""),
    ],
)
def test_a_missing_set_says_where_what_and_from_where(tmp_path, name, expected, published):
    with pytest.raises(DataError) as caught:
        _open(name, tmp_path)
    for part in (name, str(tmp_path), expected, published):
        assert part in str(caught.value)


def test_missing_files_of_a_set_are_named(tmp_path, write_cifar):
    write_cifar(tmp_path / "cifar-10-batches-py", "python")
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(DataError, match=r"cifar-10-batches-py lacks data_batch_4.*toronto"):
        _open("cifar10", tmp_path)


def test_an_unset_folder_is_asked_for(monkeypatch):
    monkeypatch.delenv("ABSA_DATA", raising=False)
    with pytest.raises(DataError, match=r"data\.root is not set.*ABSA_DATA"):
        open_data(DataConfig(name="mnist"), seed=0)


def test_a_folder_that_does_not_exist_is_named(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"data\.root is .*nowhere"):
        _open("mnist", tmp_path / "nowhere")
    monkeypatch.setenv("ABSA_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"ABSA_DATA is .*nowhere"):
        open_data(DataConfig(name="mnist"), seed=0)


def test_another_set_under_the_name_is_noticed(tmp_path, write_arrays):
    write_arrays(tmp_path, (32, 32, 3))
    with pytest.raises(DataError, match=r"\(3, 32, 32\).*mnist are \(1, 28, 28\)"):
        _open("mnist", tmp_path)


def test_labels_beyond_the_classes_of_a_published_set_are_noticed(tmp_path, write_mnist, idx_bytes):
    write_mnist(tmp_path)
    labels = np.full(20, 11, dtype=np.uint8)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match="a test label is 11"):
        _open("mnist", tmp_path)


def test_digits_need_no_folder(monkeypatch):
    monkeypatch.delenv("ABSA_DATA", raising=False)
    found = open_data(DataConfig(evaluation_fraction=0.3), seed=0)
    assert len(found.test.labels) == pytest.approx(0.3 * 1797, abs=5)
    assert (found.image_shape, found.num_classes) == ((1, 8, 8), 10)


def test_the_normalisation_of_the_job_goes_first(tmp_path, write_arrays):
    write_arrays(tmp_path)
    given = DataConfig(name="arrays", root=str(tmp_path), mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    images = open_data(given, seed=0)
    assert normalisation_of(given, images) == Normalisation((0.1, 0.2, 0.3), (1, 2, 3))
    assert normalisation_of(DataConfig(name="arrays"), images) == measure(images.train.images)
    assert normalisation_of(DataConfig(name="mnist"), images).mean == (0.1307,)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mean": (0.5,)}, "give both or neither"),
        ({"std": (0.5,)}, "give both or neither"),
        ({"mean": (0.5,), "std": (0.5, 0.5)}, "one number per channel"),
        ({"mean": (0.5,), "std": (0.0,)}, "greater than 0"),
        ({"mean": (), "std": ()}, "at least 1"),
        ({"evaluation_fraction": 1.0}, "less than 1"),
        ({"label_smoothing": 1.0}, "less than 1"),
        ({"crop_padding": -1}, "greater than or equal to 0"),
        ({"crop": 4}, "Extra inputs"),
    ],
)
def test_impossible_sections_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        DataConfig(**wrong)
