import pickle
import struct

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from absa.errors import CheckpointError
from absa.tensor_file import CHUNK_BYTES, as_writable, from_written, read_tensors, tensor_chunks

KNOWN = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip
FOREIGN = [torch.complex64, torch.complex128, torch.uint16, torch.uint64, torch.float8_e8m0fnu]
SHAPES = st.lists(st.integers(0, 4), max_size=4)


def random_tensor(dtype: torch.dtype, shape: list[int], seed: int) -> torch.Tensor:
    """Return a tensor of random bits: NaN payloads and denormals included."""
    top = 2 if dtype == torch.bool else 256
    generator = torch.Generator().manual_seed(seed)
    size = [*shape, dtype.itemsize]
    raw = torch.randint(top, size, dtype=torch.uint8, generator=generator)
    return raw.reshape(-1).view(dtype).reshape(shape)


def bits(tensor: torch.Tensor) -> tuple:
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return tensor.dtype, tensor.shape, bytes(flat.view(torch.uint8).tolist())


def written(tensors: dict[str, torch.Tensor]) -> bytes:
    return b"".join(tensor_chunks(tensors, {}))


@given(
    st.dictionaries(
        st.text(max_size=9).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(KNOWN), SHAPES, st.integers(0, 9)),
        max_size=5,
    )
)
def test_the_file_is_what_the_library_writes(spec) -> None:
    tensors = {name: random_tensor(*parts) for name, parts in spec.items()}
    ours = written(tensors)
    theirs = safetensors.torch.load(ours)
    assert {n: bits(t) for n, t in theirs.items()} == {n: bits(t) for n, t in tensors.items()}
    # Between dtypes of one width the library's order is its own business.
    plain_names = all(name.isascii() and name.isprintable() for name in tensors)
    if plain_names and len({t.dtype for t in tensors.values()}) < 2:
        assert ours == safetensors.torch.save(tensors)


@given(st.sampled_from(KNOWN + FOREIGN), SHAPES, st.integers(0, 9))
def test_tensors_of_every_dtype_come_back_bit_for_bit(dtype, shape, seed) -> None:
    tensor = random_tensor(dtype, shape, seed)
    plain, dtypes = as_writable({"x": tensor})
    back = from_written(read_tensors(written(plain)), dtypes)
    assert bits(back["x"]) == bits(tensor)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t.t(),
        lambda t: t[1:, ::2],
        lambda t: t.expand(3, 4, 6),
        lambda t: t[0, 0],
        lambda t: t.to(torch.complex64).conj(),
        lambda t: t.to(torch.complex64).conj().imag,
        lambda t: torch.nn.Parameter(t),
        lambda t: t[None, None].contiguous(memory_format=torch.channels_last),
    ],
)
def test_views_are_written_as_they_read(view) -> None:
    tensor = view(torch.randn(4, 6))
    plain, dtypes = as_writable({"x": tensor})
    assert bits(from_written(read_tensors(written(plain)), dtypes)["x"]) == bits(tensor)


def test_tensors_that_share_memory_come_back_equal_and_apart() -> None:
    weight = torch.randn(4, 4)
    back = read_tensors(written({"a": weight, "b": weight, "part": weight[1]}))
    assert torch.equal(back["a"], weight)
    assert torch.equal(back["part"], weight[1])
    back["a"].zero_()
    assert torch.equal(back["b"], weight)


def test_a_large_tensor_is_streamed_in_chunks() -> None:
    tensor = torch.arange(CHUNK_BYTES // 4 + 7, dtype=torch.int32)
    chunks = list(tensor_chunks({"x": tensor}, {}))
    assert [len(c) for c in chunks[1:]] == [CHUNK_BYTES, 28]
    assert torch.equal(read_tensors(b"".join(chunks))["x"], tensor)


def test_metadata_stands_in_the_header() -> None:
    data = b"".join(tensor_chunks({}, {"format": "pt"}))
    assert b'"__metadata__":{"format":"pt"}' in data


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (torch.eye(2).to_sparse(), "torch.sparse_coo"),
        (torch.empty(2, device="meta"), "meta"),
    ],
)
def test_what_has_no_dense_data_is_refused(tensor, says: str) -> None:
    for write in (as_writable, written):
        with pytest.raises(CheckpointError, match=rf"'x' is {says}; only"):
            write({"x": tensor})
    with pytest.raises(CheckpointError, match=r"has no torch.complex128"):
        written({"x": torch.zeros(1, dtype=torch.complex128)})
    with pytest.raises(CheckpointError, match="cannot be called __metadata__"):
        written({"__metadata__": torch.zeros(1)})


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickle.dumps(Evil()),
        b"\xff" * 64,
        struct.pack("<Q", 2) + b"{}" + b"extra",
        struct.pack("<Q", 9) + b'{"x": 1} ',
        written({"x": torch.zeros(8)})[:-1],
        written({"x": torch.zeros(8)}).replace(b"F32", b"Q32"),
        written({"x": torch.zeros(8)}).replace(b"[0,32]", b"[0,99]"),
    ],
)
def test_another_file_is_refused_and_runs_nothing(data: bytes, capsys) -> None:
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_tensors(data)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "dtypes",
    [
        {"y": "complex64"},
        {"x": "load"},
        {"x": "complex64"},
        {"x": "complex128"},
        {"f": "complex64"},
    ],
)
def test_dtypes_that_do_not_fit_are_refused(dtypes) -> None:
    tensors = {"x": torch.zeros(2, 3, dtype=torch.uint8), "f": torch.zeros(8)}
    with pytest.raises(CheckpointError, match=r"cannot be restored|is no complex"):
        from_written(tensors, dtypes)
