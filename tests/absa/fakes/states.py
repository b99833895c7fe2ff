"""State trees for the tests of hand-overs: every dtype and memory layout, or drawn at random."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from absa.state import StateTree

DTYPES = (
    torch.bool,
    torch.uint8,
    torch.int16,
    torch.int64,
    torch.bfloat16,
    torch.float16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.float8_e4m3fn,
)


def noise(shape, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Return random bits, not-a-numbers among them."""
    size = torch.Size(shape).numel() * dtype.itemsize
    raw = torch.randint(2 if dtype == torch.bool else 256, (size,), generator=generator)
    return raw.to(torch.uint8).view(dtype).view(shape)


def assorted(seed: int) -> StateTree:
    """Return a tree of all that a replicated part may hold."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {f"model/{dtype}": noise((3, 5), dtype, generator) for dtype in DTYPES}
    image = noise((2, 3, 4, 4), torch.float32, generator)
    wide = noise((6, 8), torch.float32, generator)
    tensors |= {
        "model/scalar": noise((), torch.int64, generator),
        "model/empty": torch.empty(0, 3),
        "model/channels_last": image.to(memory_format=torch.channels_last),
        "model/transposed": wide.t(),
        "model/every_other": wide[:, ::2],
        "model/parameter": torch.nn.Parameter(torch.randn(7, generator=generator)),
        "model/large": noise((40, 30), torch.float64, generator),
        "model/large_channels_last": noise((4, 8, 8, 8), torch.float32, generator).to(
            memory_format=torch.channels_last
        ),
        "model/large_every_other": noise((64, 64), torch.float32, generator)[::2, ::2],
    }
    values = {"progress": {"samples": seed, "best": None, "lr": float("inf")}, "pair": (1, 2.5)}
    return StateTree(tensors, values)


def bits(tensor: Tensor) -> Tensor:
    """Return the elements as bytes, so that a not-a-number equals itself."""
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


def assert_same(tree: StateTree, expected: StateTree) -> None:
    """Fail unless both hold the same bits."""
    assert tree.tensors.keys() == expected.tensors.keys()
    for name, tensor in tree.tensors.items():
        other = expected.tensors[name]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape), name
        assert torch.equal(bits(tensor), bits(other)), name
    assert dict(tree.values) == dict(expected.values)
    assert dict(tree.kinds) == dict(expected.kinds)


@st.composite
def trees(draw) -> StateTree:
    """Draw a replicated tree of dense tensors."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    tensors = {}
    for i in range(draw(st.integers(0, 12))):
        shape = draw(st.lists(st.integers(0, 6), max_size=4))
        tensor = noise(tuple(shape), draw(st.sampled_from(DTYPES)), generator)
        order = draw(st.permutations(range(len(shape))))
        tensors[f"part{i % 3}/{i}"] = tensor.permute(order)
    return StateTree(tensors, {"progress": draw(st.integers())})
