"""IDX files: read exactly, or refused by name."""

import gzip

import numpy as np
import pytest

from absa.data.idx import IDX, read_idx
from absa.errors import DataError


def test_known_bytes_are_read(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(bytes.fromhex("0000080100000003") + bytes([7, 0, 255]))
    assert read_idx(path, 1).tolist() == [7, 0, 255]


@pytest.mark.parametrize("gzipped", [False, True])
def test_written_sets_come_back(tmp_path, write_mnist, gzipped):
    written = write_mnist(tmp_path, gzipped=gzipped)
    for split, (images, labels) in zip(IDX.read(IDX.find(tmp_path)), written, strict=True):
        assert np.array_equal(split.images[..., 0], images)
        assert np.array_equal(split.labels, labels)


def test_names_with_a_dot_are_known(tmp_path, write_mnist):
    write_mnist(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert None not in IDX.find(tmp_path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-1], "15 follow"),
        (lambda content: content + b"\0", "17 follow"),
        (lambda content: content[:7], "within its header"),
        (lambda content: b"", "none"),
        (lambda content: b"\x1f\x8b" + content[2:], "1f 8b 08 02"),
        (lambda content: content[:2] + b"\x0d" + content[3:], "unsigned bytes"),
        (lambda content: content[:4] + b"\xff" * 8 + content[12:], "16 follow"),
    ],
)
def test_damaged_files_are_named(tmp_path, idx_bytes, damage, said):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(idx_bytes(np.zeros((4, 4), dtype=np.uint8))))
    with pytest.raises(DataError, match=said) as caught:
        read_idx(path, 2)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-9], lambda c: c[:12], lambda c: b"not gzip at all"]
)
def test_damaged_gzip_files_are_named(tmp_path, idx_bytes, damage):
    path = tmp_path / "labels.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(np.arange(99, dtype=np.uint8)))))
    with pytest.raises(DataError, match=r"labels\.gz"):
        read_idx(path, 1)


def test_a_gzip_file_with_a_wrong_checksum_is_refused(tmp_path, idx_bytes):
    content = bytearray(gzip.compress(idx_bytes(np.arange(99, dtype=np.uint8))))
    content[-8] ^= 1
    path = tmp_path / "labels.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="CRC"):
        read_idx(path, 1)
