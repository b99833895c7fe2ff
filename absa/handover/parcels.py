"""Cuts tensors into parcels: large ones travel as they lie in memory, small ones together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from absa.handover.layout import Form
from absa.optim.layout import flat

_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Sizes:
    """How tensors are cut; the same on all ranks.

    Args:
        large_bytes: From here on a message of its own costs less than copying twice.
        piece_bytes: Of a larger tensor: one is passed on while the following one arrives.
        bucket_bytes: Of small tensors: one is packed while the one before is on its way.
        in_flight: Parcels under way at a time: the wire never waits, and few buckets are held.
    """

    large_bytes: int = 512 << 10
    piece_bytes: int = 4 << 20
    bucket_bytes: int = 1 << 20
    in_flight: int = 8


DEFAULT_SIZES = Sizes()


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes ``[begin, end)`` of one large tensor, in the order of memory."""

    name: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Run:
    """Small tensors of one dtype, one after another from a byte of a bucket on."""

    dtype: torch.dtype
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    begin: int

    @property
    def end(self) -> int:
        """The byte after the last."""
        return self.begin + sum(self.sizes) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Bucket:
    """Small tensors of one device that travel as one message."""

    runs: tuple[Run, ...]

    @property
    def num_bytes(self) -> int:
        """The length of the message."""
        return self.runs[-1].end


Parcel = Piece | Bucket


def cut(forms: Mapping[str, Form], sizes: Sizes) -> list[Parcel]:
    """Return the parcels in which tensors travel, the same on all ranks.

    A large piece leaves first, for it needs no packing, and the buckets are packed behind it.
    """
    pieces: list[Parcel] = [
        Piece(name, begin, min(begin + sizes.piece_bytes, form.num_bytes))
        for name, form in forms.items()
        if form.num_bytes >= sizes.large_bytes
        for begin in range(0, form.num_bytes, sizes.piece_bytes)
    ]
    small = [(n, form) for n, form in forms.items() if 0 < form.num_bytes < sizes.large_bytes]
    buckets = [_bucket(group) for group in _groups(small, sizes.bucket_bytes)]
    return [*pieces[:1], *buckets, *pieces[1:]]


def _groups(small: Sequence[tuple[str, Form]], limit: int) -> Iterator[list[tuple[str, Form]]]:
    """Yield tensors that share a bucket, those of one dtype beside one another."""
    ordered = sorted(small, key=lambda item: (item[1].on_host, str(item[1].dtype)))
    for _, same in groupby(ordered, lambda item: item[1].on_host):
        group: list[tuple[str, Form]] = []
        length = 0
        for name, form in same:
            if group and length + form.num_bytes > limit:
                yield group
                group, length = [], 0
            group.append((name, form))
            length += form.num_bytes
        yield group


def _bucket(group: list[tuple[str, Form]]) -> Bucket:
    runs: list[Run] = []
    for dtype, same in groupby(group, lambda item: item[1].dtype):
        members = list(same)
        end = runs[-1].end if runs else 0
        sizes = tuple(torch.Size(form.shape).numel() for _, form in members)
        names = tuple(name for name, _ in members)
        runs.append(Run(dtype, names, sizes, -(-end // _ALIGNMENT) * _ALIGNMENT))
    return Bucket(tuple(runs))


def pack(bucket: Bucket, tensors: Mapping[str, Tensor], message: Tensor) -> None:
    """Write the tensors of a bucket into its message, which may lie on another device."""
    device = tensors[bucket.runs[0].names[0]].device
    here = message if device == message.device else torch.empty_like(message, device=device)
    for run in bucket.runs:
        lines = [tensors[name].detach().to(device).reshape(-1) for name in run.names]
        torch.cat(lines, out=_typed(here, run))
    if here is not message:
        message.copy_(here)


def unpack(bucket: Bucket, tensors: Mapping[str, Tensor], message: Tensor) -> None:
    """Overwrite tensors by those in a message."""
    here = message.to(tensors[bucket.runs[0].names[0]].device)
    for run in bucket.runs:
        targets = [tensors[name].detach() for name in run.names]
        parts = _typed(here, run).split(run.sizes)
        found = [part.view(t.shape) for part, t in zip(parts, targets, strict=True)]
        torch._foreach_copy_(targets, found)


def _typed(message: Tensor, run: Run) -> Tensor:
    return message[run.begin : run.end].view(run.dtype)


class Lines:
    """Large tensors as lines of bytes, on the device that sends and receives.

    A tensor that lies there as its form says is its own line; of another one a copy is made, and
    whoever receives must `settle`.

    Args:
        tensors: By name.
        forms: Of the source.
        device: That sends and receives.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], forms: Mapping[str, Form], device: torch.device
    ) -> None:
        self._tensors, self._forms, self._device = tensors, forms, device
        self._lines: dict[str, Tensor] = {}
        self._copies: dict[str, Tensor] = {}

    def to_send(self, piece: Piece) -> Tensor:
        """Return the bytes of a piece."""
        line = self._lines.get(piece.name)
        if line is None:
            tensor = self._tensors[piece.name].detach()
            if not self._lies_so(piece.name, tensor):
                tensor = self._forms[piece.name].empty(self._device).copy_(tensor)
            line = self._lines[piece.name] = _bytes(tensor)
        return line[piece.begin : piece.end]

    def to_receive(self, piece: Piece) -> Tensor:
        """Return where the bytes of a piece belong."""
        line = self._lines.get(piece.name)
        if line is None:
            tensor = self._tensors[piece.name].detach()
            if not self._lies_so(piece.name, tensor):
                tensor = self._copies[piece.name] = self._forms[piece.name].empty(self._device)
            line = self._lines[piece.name] = _bytes(tensor)
        return line[piece.begin : piece.end]

    def settle(self) -> None:
        """Bring what arrived beside its tensor into it."""
        for name, copy in self._copies.items():
            self._tensors[name].detach().copy_(copy)

    def _lies_so(self, name: str, tensor: Tensor) -> bool:
        form = self._forms[name]
        if tensor.device != self._device or tensor.is_conj() or tensor.is_neg():
            return False
        return tensor.is_contiguous() if form.stride is None else tensor.stride() == form.stride


def _bytes(tensor: Tensor) -> Tensor:
    return flat(tensor).view(torch.uint8)
