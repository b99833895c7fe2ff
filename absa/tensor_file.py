"""Tensors in a safetensors file, written in a stream and read by the library.

The library's own writer either holds the interpreter lock while it copies everything or wants a
local path. The format is a length, a JSON header and the bytes, so it is streamed here instead: any
storage, no second copy, digests on the way.

Source: the format, https://github.com/huggingface/safetensors#format.
"""

import json
import sys
from collections.abc import Iterator, Mapping

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from absa.errors import CheckpointError
from absa.storage import Chunk

CHUNK_BYTES = 4 << 20
"""Large enough that hashing and writing, which release the interpreter lock, are all the time."""

_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}
"""Those that every version of the library we allow can read."""


def as_writable(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Replace tensors whose dtype the format lacks by their bytes.

    Returns:
        The tensors, such a one as uint8 with one more dimension, and its dtype by name (for
        `from_written`).
    """
    written: dict[str, Tensor] = {}
    dtypes: dict[str, str] = {}
    for name, tensor in tensors.items():
        _check_dense(name, tensor)
        if tensor.dtype in _CODES:
            written[name] = tensor
        else:
            written[name] = _bytes(tensor).reshape(*tensor.shape, tensor.element_size())
            dtypes[name] = str(tensor.dtype).removeprefix("torch.")
    return written, dtypes


def from_written(tensors: Mapping[str, Tensor], dtypes: Mapping[str, str]) -> dict[str, Tensor]:
    """Undo `as_writable`.

    Raises:
        CheckpointError: A name or a dtype is unknown, or a tensor does not fit its dtype.
    """
    restored = dict(tensors)
    for name, dtype_name in dtypes.items():
        dtype = getattr(torch, str(dtype_name), None)
        raw = tensors.get(name)
        if not isinstance(dtype, torch.dtype) or raw is None or raw.dtype != torch.uint8:
            raise CheckpointError(f"tensor {name!r} cannot be restored as {dtype_name!r}")
        if raw.ndim == 0 or raw.shape[-1] != dtype.itemsize:
            raise CheckpointError(f"tensor {name!r} of shape {list(raw.shape)} is no {dtype_name}")
        restored[name] = raw.reshape(-1).view(dtype).reshape(raw.shape[:-1])
    return restored


def tensor_chunks(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Iterator[Chunk]:
    """Yield a safetensors file piece by piece.

    Every tensor is written in full and row by row, whatever its strides and whatever it shares its
    memory with: tied weights come back equal, as tensors of their own.

    Args:
        tensors: Dense tensors on any device, of a dtype the format has.
        metadata: Text for the header.

    Raises:
        CheckpointError: A tensor is sparse, quantized or without data, or its dtype is not in the
            format.
    """
    # Wide elements first keeps every tensor aligned to its element size, as the library has it.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        tensor = tensors[name]
        _check_dense(name, tensor)
        if tensor.dtype not in _CODES:
            raise CheckpointError(f"tensor {name!r}: a safetensors file has no {tensor.dtype}")
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        data: memoryview = _bytes(tensors[name]).numpy().data
        for at in range(0, len(data), CHUNK_BYTES):
            yield data[at : at + CHUNK_BYTES]


def read_tensors(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the host; nothing in it can run code.

    Raises:
        CheckpointError: It is not a safetensors file.
    """
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, AssertionError) as cause:
        raise CheckpointError(f"not a safetensors file: {cause}") from cause
    return tensors


def _check_dense(name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else tensor.layout
        raise CheckpointError(f"tensor {name!r} is {kind}; only dense tensors can be saved")
    if name == "__metadata__":
        raise CheckpointError("a tensor cannot be called __metadata__ in a safetensors file")
    if sys.byteorder != "little":
        raise CheckpointError("tensors can be saved on little-endian machines only")


def _bytes(tensor: Tensor) -> Tensor:
    host = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return host.reshape(-1).view(torch.uint8)
