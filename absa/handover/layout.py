"""What the source's state looks like: it travels before the state, so that others can make room."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from absa.errors import CheckpointError, ResizeError
from absa.exact_json import dump_exact, load_exact
from absa.optim.layout import is_dense
from absa.state import Json, Kind, StateTree


@dataclass(frozen=True, slots=True)
class Form:
    """What a tensor looks like, without its elements.

    Args:
        dtype: Of the elements.
        shape: A part that is keyed by position has 0 as its first dimension.
        stride: How the elements lie in memory on the way, or None: row by row.
        on_host: Whether it lies in the memory of the host where the others may be on a device.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    on_host: bool = True

    @property
    def num_bytes(self) -> int:
        """The size of the elements."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize

    def empty(self, device: torch.device) -> Tensor:
        """Return a tensor of this form whose elements are not set."""
        if self.stride is None:
            return torch.empty(self.shape, dtype=self.dtype, device=device)
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=device)

    def fits(self, tensor: Tensor) -> bool:
        """Return whether a tensor can take the elements."""
        return tensor.dtype == self.dtype and tensor.shape == self.shape

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}"


@dataclass(frozen=True)
class Layout:
    """A state tree without the elements of its tensors.

    Args:
        forms: By name, in the order in which the tensors travel.
        values: The plain values.
        kinds: As in the tree.
    """

    forms: Mapping[str, Form]
    values: Mapping[str, Json]
    kinds: Mapping[str, Kind]

    def of_kind(self, kind: Kind) -> dict[str, Form]:
        """Return the forms of the parts of one kind."""
        kind_of = StateTree({}, {}, self.kinds).kind
        return {name: form for name, form in self.forms.items() if kind_of(name) == kind}


def describe(tree: StateTree) -> Layout:
    """Return the layout of a tree.

    Raises:
        ResizeError: A tensor is not dense, so it cannot be handed over.
    """
    forms = {name: _form(name, tensor, tree.kind(name)) for name, tensor in tree.tensors.items()}
    return Layout(forms, tree.values, tree.kinds)


def encode(layout: Layout) -> bytes:
    """Return a layout as bytes.

    Raises:
        ResizeError: A value is no plain value.
    """
    forms = [
        (name, str(f.dtype).removeprefix("torch."), f.shape, f.stride, f.on_host)
        for name, f in layout.forms.items()
    ]
    try:
        values = dump_exact([dict(layout.values), dict(layout.kinds)])
    except CheckpointError as error:
        raise ResizeError(f"the state cannot be handed over: {error}") from error
    return json.dumps(forms).encode() + b"\n" + values


def decode(data: bytes) -> Layout:
    """Return what `encode` was given."""
    written, plain = data.split(b"\n", 1)
    forms = {
        name: Form(
            getattr(torch, dtype), tuple(shape), None if stride is None else tuple(stride), on_host
        )
        for name, dtype, shape, stride, on_host in json.loads(written)
    }
    values, kinds = load_exact(plain)
    return Layout(forms, values, kinds)


def _form(name: str, tensor: Tensor, kind: Kind) -> Form:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        what = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else tensor.layout
        raise ResizeError(
            f"tensor {name!r} of the state is {what}: only dense tensors can be handed to workers "
            "that join; keep it in dense form"
        )
    shape = tuple(tensor.shape)
    if kind == "per_position":
        return Form(tensor.dtype, (0, *shape[1:]), None, tensor.is_cpu)
    plain = tensor.is_contiguous() or not is_dense(tensor)
    return Form(tensor.dtype, shape, None if plain else tuple(tensor.stride()), tensor.is_cpu)
