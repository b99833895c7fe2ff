"""Reads pickles of plain values and numpy arrays, and executes nothing of what they contain.

A pickle names callables and has them called. Here the few names that an array is made of stand for
inert recorders of our own, every other name is refused; arrays are then made from what was
recorded, with their sizes checked.
"""

import io
import math
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absa.errors import DataError

# What a malformed pickle raises in the standard library's reader, besides its own error.
_MALFORMED = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    ImportError,
)


def read_array_pickle(path: Path) -> Any:
    """Return what a pickle holds: None, numbers, text, bytes, lists, tuples, dicts and arrays.

    Text written by Python 2 comes as bytes.

    Raises:
        DataError: The file cannot be read, is malformed, or names anything but a numeric array.
    """
    try:
        return _finish(_ArrayUnpickler(path.read_bytes()).load())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except _MALFORMED as error:
        raise DataError(
            f"{path}: not a pickle of plain values and numeric arrays: {error}; it was not "
            "executed; fetch it again from where it is published"
        ) from error


class _Array:
    """Records the state of an array; stands for ``numpy.ndarray`` and what makes one."""

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def finish(self) -> NDArray[np.generic]:
        _, shape, dtype, in_fortran_order, packed = self.state
        content = packed.finish() if isinstance(packed, _Bytes) else packed
        if not isinstance(dtype, _Type) or not isinstance(content, bytes):
            raise ValueError("an array that is not of plain numbers")
        sizes = [size for size in shape if type(size) is int and size >= 0]
        numbers = np.frombuffer(content, dtype=dtype.finish())
        if len(sizes) != len(shape) or math.prod(sizes) != numbers.size:
            raise ValueError(f"an array of shape {shape} with {len(content)} bytes")
        return numbers.reshape(sizes, order="F" if in_fortran_order else "C")


class _Type:
    """Records a number type; stands for ``numpy.dtype``."""

    def __init__(self, code: object, *_: object) -> None:
        self.code, self.state = code, (3, "|")

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def finish(self) -> np.dtype[Any]:
        code, order = _text(self.code), _text(self.state[1])
        if code not in ("u1", "i1", "i2", "i4", "i8", "f4", "f8") or order not in ("|", "<", ">"):
            raise ValueError(f"an array of type {order}{code}")
        return np.dtype(order + code)


class _Bytes:
    """Records bytes that Python 3 wrote for Python 2; stands for ``_codecs.encode``."""

    def __init__(self, text: object, encoding: object) -> None:
        self.text, self.encoding = text, encoding

    def __setstate__(self, state: Any) -> None:
        raise ValueError("bytes with attributes")

    def finish(self) -> bytes:
        if not isinstance(self.text, str) or self.encoding != "latin1":
            raise ValueError(f"bytes in the encoding {self.encoding}")
        return self.text.encode("latin1")


# Classes alone, each with its own __setstate__: a pickle can set attributes on anything else.
_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _Bytes,
}


# The reader in Python, not the one in C, which allocates whatever size a damaged file names; one
# opcode does so here too, and no published file has it.
class _ArrayUnpickler(pickle._Unpickler):
    dispatch = {  # noqa: RUF012 (as in the base class)
        opcode: load
        for opcode, load in pickle._Unpickler.dispatch.items()
        if opcode != pickle.BYTEARRAY8[0]
    }

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the stand-in for a name; Python calls this for every name in a pickle."""
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STAND_INS[module, name]


def _finish(value: Any) -> Any:
    """Replace the recorders in plain containers by arrays."""
    if isinstance(value, (_Array, _Bytes)):
        return value.finish()
    if isinstance(value, dict):
        return {_finish(key): _finish(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_finish, value))
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    raise ValueError(f"a value of type {type(value).__name__}")


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"{value!r} in the place of a text")
    return value
