"""Rows keyed by sample position: each goes to the rank that owns its position in the new group.

A part of this kind has a tensor ``<part>/positions``, int64 of shape [n], and others whose first
dimension is n: row i of each belongs to sample position ``positions[i]``. A rank may have none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from absa.errors import ResizeError
from absa.handover.layout import Form
from absa.handover.wire import Wire

Owner = Callable[[Int64[Tensor, " n"]], Int64[Tensor, " n"]]
"""Sample positions -> the ranks of the new group that own them; the same on every rank."""

_KEY = "positions"


@dataclass(frozen=True)
class Rows:
    """The rows that a rank has of one part.

    Args:
        forms: Of one row each, under names with the part; shapes begin with 0.
        tensors: With one first dimension; the positions among them.
        owners: The rank that each row belongs to, on the host.
    """

    key: str
    forms: Mapping[str, Form]
    tensors: Mapping[str, Tensor]
    owners: Int64[Tensor, " n"]

    def counts(self, world_size: int) -> Int64[Tensor, " world_size"]:
        """Return how many rows belong to each rank."""
        return torch.bincount(self.owners, minlength=world_size)


def find_rows(
    forms: Mapping[str, Form], held: Mapping[str, Tensor], owner: Owner | None, world_size: int
) -> dict[str, Rows]:
    """Return a rank's rows by part.

    Args:
        forms: Those of the source's parts that are keyed by position.
        held: What the rank has of them: all of a part's tensors or none.
        owner: Who owns a position.
        world_size: Of the new group.

    Raises:
        ResizeError: A part has no positions, its tensors do not fit together or those of the
            source, or ``owner`` is missing or names ranks that do not exist.
    """
    return {
        part: _part(
            part,
            {name: form for name, form in forms.items() if name.split("/", 1)[0] == part},
            held,
            owner,
            world_size,
        )
        for part in sorted({name.split("/", 1)[0] for name in forms})
    }


def _part(
    part: str,
    forms: Mapping[str, Form],
    held: Mapping[str, Tensor],
    owner: Owner | None,
    world_size: int,
) -> Rows:
    key = f"{part}/{_KEY}"
    if key not in forms or (forms[key].dtype, forms[key].shape) != (torch.int64, (0,)):
        raise ResizeError(
            f"the state's part {part!r} is keyed by sample position, so it needs a tensor {key!r} "
            f"of dtype int64 and one dimension, got {forms.get(key, 'none')}"
        )
    mine = {name: t.detach() for name, t in held.items() if name.split("/", 1)[0] == part}
    if not mine:
        return Rows(key, forms, {}, torch.empty(0, dtype=torch.int64))
    num_rows = mine[key].shape[0] if key in mine else None
    wrong = [
        name
        for name in sorted(forms.keys() | mine.keys(), key=lambda name: (name != key, name))
        if name not in forms or name not in mine or not _row_fits(mine[name], forms[name], num_rows)
    ]
    if wrong:
        raise ResizeError(
            f"the tensors of {part!r} must be those of the source, with one row per position: "
            f"{wrong[0]!r} is {_said(mine.get(wrong[0]))} here, "
            f"{_row_said(forms.get(wrong[0]))} there"
        )
    return Rows(key, forms, mine, _owners(part, mine[key].cpu(), owner, world_size))


def _owners(part: str, positions: Tensor, owner: Owner | None, world_size: int) -> Tensor:
    if owner is None:
        raise ResizeError(
            f"the state's part {part!r} is keyed by sample position, but nothing says which rank "
            "owns a position: pass owner"
        )
    owners = owner(positions)
    if owners.dtype != torch.int64 or owners.shape != positions.shape:
        raise ResizeError(
            f"owner must return an int64 rank for each of {len(positions)} positions, got "
            f"{owners.dtype} of shape {tuple(owners.shape)}"
        )
    if len(owners) and (int(owners.min()) < 0 or int(owners.max()) >= world_size):
        raise ResizeError(
            f"owner returned ranks {int(owners.min())} to {int(owners.max())}, the new group has "
            f"0 to {world_size - 1}"
        )
    return owners


def _row_fits(tensor: Tensor, form: Form, num_rows: int | None) -> bool:
    return (
        tensor.dtype == form.dtype
        and tensor.ndim == len(form.shape)
        and tuple(tensor.shape) == (num_rows, *form.shape[1:])
    )


def _said(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{tensor.dtype} of shape {tuple(tensor.shape)}"


def _row_said(form: Form | None) -> str:
    return "missing" if form is None else f"{form.dtype} of shape {('n', *form.shape[1:])}"


def exchange(
    rows: Rows,
    counts: Int64[Tensor, "givers takers"],
    ranking: Sequence[int],
    wire: Wire,
) -> dict[str, Tensor]:
    """Return the rows that belong to this rank now, in the order of their positions.

    Args:
        rows: What it had; left as it is.
        counts: How many rows each rank has for each.
        ranking: All ranks; of a position that several have, the first one's row is kept.
        wire: The ranks.
    """
    me = wire.rank
    peers = [rank for rank in range(wire.world_size) if rank != me]
    row_bytes = sum(_row_bytes(form) for form in rows.forms.values())
    sent = []
    for peer in peers:
        if counts[me, peer]:
            message = _packed(rows, peer, wire)
            sent.append((wire.collective.start_send(message, peer), message))
    coming = {}
    for peer in peers:
        if counts[peer, me]:
            size = int(counts[peer, me]) * row_bytes
            message = torch.empty(size, dtype=torch.uint8, device=wire.device)
            coming[peer] = (wire.collective.start_receive(message, peer), message)
    found = {me: _of(rows, me, wire)}
    for peer, (pending, message) in coming.items():
        pending.wait()
        found[peer] = _unpacked(rows, message, int(counts[peer, me]), wire)
    for pending, _ in sent:
        pending.wait()
    return _merged([found[rank] for rank in ranking if rank in found], rows.key)


def _of(rows: Rows, rank: int, wire: Wire) -> dict[str, Tensor]:
    """Return the rows that belong to one rank."""
    if not rows.tensors:
        return {
            name: torch.empty(form.shape, dtype=form.dtype, device=wire.place(on_host=form.on_host))
            for name, form in rows.forms.items()
        }
    (index,) = torch.nonzero(rows.owners == rank, as_tuple=True)
    return {
        name: rows.tensors[name].index_select(0, index.to(t.device))
        for name, t in rows.tensors.items()
    }


def _packed(rows: Rows, rank: int, wire: Wire) -> Tensor:
    found = _of(rows, rank, wire)
    return torch.cat(
        [found[name].contiguous().view(-1).view(torch.uint8).to(wire.device) for name in rows.forms]
    )


def _unpacked(rows: Rows, message: Tensor, num_rows: int, wire: Wire) -> dict[str, Tensor]:
    sizes = [num_rows * _row_bytes(form) for form in rows.forms.values()]
    # A copy of each, for a view into the message may begin off the boundary of an element.
    return {
        name: part.to(wire.place(on_host=form.on_host), copy=True)
        .view(form.dtype)
        .view(num_rows, *form.shape[1:])
        for (name, form), part in zip(rows.forms.items(), message.split(sizes), strict=True)
    }


def _merged(parts: Sequence[Mapping[str, Tensor]], key: str) -> dict[str, Tensor]:
    """Join rows in the order of positions; the first of equal ones stays."""
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    positions, order = torch.sort(joined[key], stable=True)
    first = torch.ones_like(positions, dtype=torch.bool)
    first[1:] = positions[1:] != positions[:-1]
    index = order[first]
    return {name: rows.index_select(0, index.to(rows.device)) for name, rows in joined.items()}


def _row_bytes(form: Form) -> int:
    return torch.Size(form.shape[1:]).numel() * form.dtype.itemsize
