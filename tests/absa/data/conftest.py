"""Small random sets, and writers of the public layouts."""

import gzip
import pickle
import struct

import numpy as np
import pytest


@pytest.fixture
def random_images():
    """Return a function: (n, shape) -> uint8 images and labels in which every class occurs."""

    def make(num, shape, seed=0):
        random = np.random.default_rng(seed)
        images = random.integers(0, 256, (num, *shape), dtype=np.uint8)
        return images, np.arange(num, dtype=np.int64) % 10

    return make


@pytest.fixture
def idx_bytes():
    """Return a function: uint8 array -> the content of an IDX file."""

    def encode(array):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        return header + array.astype(np.uint8).tobytes()

    return encode


@pytest.fixture
def write_mnist(random_images, idx_bytes):
    """Return a function: folder -> the sets written there as IDX files."""

    def write(folder, *, gzipped=False):
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for stem, num in (("train", 30), ("t10k", 20)):
            images, labels = random_images(num, (28, 28), seed=num)
            for kind, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
                content = idx_bytes(array)
                name = f"{stem}-{kind}" + (".gz" if gzipped else "")
                (folder / name).write_bytes(gzip.compress(content) if gzipped else content)
            written.append((images, labels))
        return written

    return write


@pytest.fixture
def write_cifar(random_images):
    """Return a function: folder, "python" or "binary" -> the sets written there in batches."""

    def write(folder, form):
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
            images, labels = random_images(20, (32, 32, 3), seed=number)
            planes = images.transpose(0, 3, 1, 2).reshape(20, -1)
            if form == "python":
                batch = {b"batch_label": b"x", b"labels": labels.tolist(), b"data": planes}
                (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
            else:
                records = np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1)
                (folder / f"{name}.bin").write_bytes(records.tobytes())
            written.append((images, labels))
        train = tuple(np.concatenate(parts) for parts in zip(*written[:-1], strict=True))
        return train, written[-1]

    return write


@pytest.fixture
def write_arrays(random_images):
    """Return a function: folder, image shape -> the sets written there as .npy files."""

    def write(folder, shape=(8, 6, 3)):
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for part, num in (("train", 40), ("test", 20)):
            images, labels = random_images(num, shape, seed=num)
            np.save(folder / f"{part}_images.npy", images)
            np.save(folder / f"{part}_labels.npy", labels)
            written.append((images, labels))
        return written

    return write
