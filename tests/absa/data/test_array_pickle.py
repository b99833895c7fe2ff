"""Pickles of arrays are read, and nothing in any pickle is executed."""

import contextlib
import os
import pickle
import random

import numpy as np
import pytest

from absa.data import array_pickle
from absa.data.array_pickle import read_array_pickle
from absa.errors import DataError


@pytest.fixture
def read(tmp_path):
    def read_bytes(content):
        path = tmp_path / "data_batch_1"
        path.write_bytes(content)
        return read_array_pickle(path)

    return read_bytes


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back(read, protocol, dtype, order):
    array = np.asarray(np.arange(12).reshape(3, 4), dtype=dtype, order=order)
    value = {"data": array, b"labels": [1, 2], "more": (None, 0.5, True, b"\xff")}
    found = read(pickle.dumps(value, protocol=protocol))
    assert found["data"].dtype == array.dtype
    assert np.array_equal(found.pop("data"), value.pop("data"))
    assert found == value


def test_a_file_written_by_python_2_is_read(read):
    # The opcodes of the published CIFAR batches, with two pixels in the place of 30,720,000.
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
        b"q\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01"
        b"\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x07\xfetb"
        b"U\x06labelsq\x08]q\x09(K\x06K\x09eu."
    )
    found = read(content)
    assert found[b"data"].tolist() == [[7, 254]]
    assert found[b"labels"] == [6, 9]


class _Executes:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        (os.mkdir, ("made_by_pickle",)),
        (eval, ("__import__('os').mkdir('made_by_pickle')",)),
        (getattr, ("", "join")),
        (np.load, ("made_by_pickle",)),
        (np.dtype, ("O",)),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_what_a_pickle_asks_for_is_not_done(read, tmp_path, monkeypatch, call, protocol):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="not executed"):
        read(pickle.dumps({"data": _Executes(call)}, protocol=protocol))
    assert not (tmp_path / "made_by_pickle").exists()


def test_a_pickle_cannot_change_the_reader(read):
    before = {name: dict(vars(kind)) for (_, name), kind in array_pickle._STAND_INS.items()}
    for module, name in array_pickle._STAND_INS:
        target = f"c{module}\n{name}\n".encode()
        for state in (b"}X\x06\x00\x00\x00finishK\x00s", b"N}X\x06\x00\x00\x00finishK\x00s\x86"):
            with pytest.raises(DataError):
                read(b"\x80\x02" + target + state + b"b.")
    after = {name: dict(vars(kind)) for (_, name), kind in array_pickle._STAND_INS.items()}
    assert after == before


@pytest.mark.parametrize(
    "value",
    [np.array([object()]), np.array(["text"]), np.float64(1.0), {1, 2}, 1j],
    ids=["objects", "text", "scalar", "set", "complex"],
)
def test_other_values_are_refused(read, value):
    with pytest.raises(DataError, match="data_batch_1"):
        read(pickle.dumps(value, protocol=2))


def test_an_array_smaller_than_its_shape_is_refused(read):
    content = pickle.dumps(np.zeros((3, 5), dtype=np.uint8), protocol=3)
    with pytest.raises(DataError, match="shape"):
        read(content.replace(b"K\x03K\x05\x86", b"K\x04K\x05\x86"))


def test_a_list_within_itself_is_refused(read):
    value = []
    value.append(value)
    with pytest.raises(DataError):
        read(pickle.dumps(value))


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_random_damage_is_refused_or_harmless(read, protocol):
    whole = pickle.dumps(
        {"data": np.arange(6, dtype=np.uint8), "labels": [1, 2]}, protocol=protocol
    )
    dice = random.Random(protocol)
    for _ in range(100):
        content = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        with contextlib.suppress(DataError):
            read(bytes(content[: dice.randint(1, len(content))]))


@pytest.mark.parametrize("opcode", [b"r", b"T", b"B"], ids=["memo index", "text", "bytes"])
def test_sizes_in_a_damaged_file_reserve_no_memory(read, opcode):
    with contextlib.suppress(DataError):  # a MemoryError would fail
        read(b"\x80\x02]" + opcode + b"\xff\xff\xff\x7f.")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nothing_here"):
        read_array_pickle(tmp_path / "nothing_here")
