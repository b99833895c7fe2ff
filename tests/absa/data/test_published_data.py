"""The real MNIST and CIFAR-10, which lie in ``shared/data`` beside a checkout of this project."""

import hashlib

import numpy as np
import pytest

from absa.data.config import DataConfig
from absa.data.normalisation import measure
from absa.data.open import normalisation_of, open_data

# shared/data/*/README.md: of the published, uncompressed IDX files, and of the decoded pixels.
_IDX_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_CIFAR_SHA256 = {
    "train": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
    "test": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
}


def _load(folder):
    return {
        part: tuple(np.load(folder / f"{part}_{kind}.npy") for kind in ("images", "labels"))
        for part in ("train", "test")
    }


def _looks_published(name, images, like):
    known = normalisation_of(DataConfig(name=name), images)
    # Four digits are published; what is measured comes from a part of the images.
    assert np.allclose(known.mean, measure(images.train.images).mean, atol=0.004)
    assert np.allclose(known.std, measure(images.train.images).std, atol=0.004)
    assert np.array_equal(images.train.images, like["train"][0])
    assert np.array_equal(images.test.labels, like["test"][1])


@pytest.mark.cpu_heavy
def test_mnist_as_published_is_read(shared_data, tmp_path, idx_bytes):
    sets = _load(shared_data("mnist"))
    for stem, part in (("train", "train"), ("t10k", "test")):
        images, labels = sets[part]
        for kind, array in (("images-idx3-ubyte", images[..., 0]), ("labels-idx1-ubyte", labels)):
            content = idx_bytes(array)
            assert hashlib.md5(content).hexdigest() == _IDX_MD5[f"{stem}-{kind}"]
            (tmp_path / f"{stem}-{kind}").write_bytes(content)
    found = open_data(DataConfig(name="mnist", root=str(tmp_path)), seed=0)
    _looks_published("mnist", found, sets)
    # The counts are those of shared/data/mnist/README.md.
    assert np.bincount(found.test.labels).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]


@pytest.mark.cpu_heavy
@pytest.mark.parametrize("form", ["binary", "arrays"])
def test_cifar10_as_published_is_read(shared_data, tmp_path, form):
    root = shared_data("cifar10")
    sets = _load(root)
    if form == "binary":
        root = tmp_path
        images, labels = (np.concatenate(arrays) for arrays in zip(*sets.values(), strict=True))
        planes = images.transpose(0, 3, 1, 2).reshape(60000, -1)
        records = np.concatenate([labels[:, None], planes], axis=1)
        names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
        for name, part in zip(names, np.split(records, 6), strict=True):
            (tmp_path / name).write_bytes(part.tobytes())
    found = open_data(DataConfig(name="cifar10", root=str(root)), seed=0)
    for part in ("train", "test"):
        pixels = np.ascontiguousarray(getattr(found, part).images)
        assert hashlib.sha256(pixels).hexdigest() == _CIFAR_SHA256[part]
    _looks_published("cifar10", found, sets)
    assert (np.bincount(found.train.labels) == 5000).all()
