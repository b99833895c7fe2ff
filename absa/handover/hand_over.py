"""Gives every rank of a new group the state it lacks, by the rules of the parts' kinds.

What happens, in one order on all ranks: the source broadcasts what its state looks like; one sum
tells everybody what each rank has and whether any refuses; the tensors travel from rank to rank.
Ranks that have the current state begin chains of those that lack it, so each sends it at most once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Int64
from torch import Tensor

from absa.errors import AbsaError, ResizeError
from absa.handover.announce import announce
from absa.handover.layout import Layout
from absa.handover.rows import Owner, Rows, exchange, find_rows
from absa.handover.stake import Code, Stake, make_room
from absa.handover.stream import chains, stream
from absa.handover.wire import Wire
from absa.state import Json, StateTree


@dataclass(frozen=True)
class _Prepared:
    """Where a rank receives, its rows by part, and why it refuses, if it does."""

    room: Mapping[str, Tensor] = field(default_factory=dict)
    rows: Mapping[str, Rows] = field(default_factory=dict)
    refusal: AbsaError | None = None


@dataclass(frozen=True)
class _Census:
    """What each rank has, and by part how many rows it has for each."""

    codes: Sequence[int]
    counts: Mapping[str, Int64[Tensor, "ranks ranks"]]

    def ranks(self, *codes: Code) -> list[int]:
        """Return the ranks of which one of ``codes`` is true."""
        return [rank for rank, code in enumerate(self.codes) if code in codes]


@dataclass(frozen=True)
class Agreed:
    """A hand-over that all ranks take part in; what is left is to move the tensors.

    Args:
        values: The source's, which are all ranks' from now on.
        num_current: How many ranks have the current state, if they are the first so many and all
            others are new; else 0.
        move: Moves them; every rank calls it once. It only sends and receives, so it may run in a
            thread of its own while the ranks that have the state compute with it.
    """

    values: Mapping[str, Json]
    num_current: int
    move: Callable[[], StateTree]


def hand_over(stake: Stake, wire: Wire, source: int, owner: Owner | None = None) -> StateTree:
    """Agree, and move the tensors at once; the arguments are those of `agree`."""
    return agree(stake, wire, source, owner).move()


def agree(stake: Stake, wire: Wire, source: int, owner: Owner | None = None) -> Agreed:
    """Find out who gives what to whom; every rank of the group calls.

    - Replicated: a rank without the current state gets the source's tensors, bit for bit; the
      others keep theirs. Values are the source's on all.
    - Per rank: a rank that has a state keeps its entry, whatever update that is from; a new one
      begins with a copy of the source's (so DecentLaM's iterate starts at the source's). Entries of
      ranks that left went with them.
    - Per position: a row goes to the rank that owns its position (`absa.handover.rows`); rows of
      lost ranks are missing; of a position that several ranks have, one row stays, rather that of a
      rank with the current state. Values of such a part are the source's.

    Nothing that a rank holds is changed unless its ``places`` are those tensors: else one that was
    behind still has its state when the hand-over fails.

    Args:
        stake: What this rank brings.
        wire: The ranks of the new group.
        source: A rank that has the current state, the same on every rank.
        owner: Who owns a position; None: no part is keyed by position.

    Returns:
        How to go on; the tensors of the state are those held, those of ``places``, or new ones.

    Raises:
        ResizeError: The ranks cannot share one state: a layout is another model's, for instance.
            All ranks raise it, before any tensor is touched.
    """
    layout = announce(stake.held if stake.current else None, wire, source)
    prepared = _prepare(stake, layout, wire, owner)
    census = _count(stake, prepared, layout, wire)
    if prepared.refusal is not None:
        raise ResizeError(
            f"rank {wire.rank} cannot take part: {prepared.refusal}"
        ) from prepared.refusal
    refusing = census.ranks(Code.REFUSES)
    if refusing:
        raise ResizeError(
            f"ranks {refusing} refused the state of rank {source}; their own errors say why"
        )
    current = census.ranks(Code.CURRENT)

    def move() -> StateTree:
        _move(stake, prepared.room, layout, census, wire, source)
        ranking = current + census.ranks(Code.BEHIND, Code.NEW)
        moved: dict[str, Tensor] = {}
        for part, rows in prepared.rows.items():
            moved |= exchange(rows, census.counts[part], ranking, wire)
        return _tree(stake, layout, {**prepared.room, **moved})

    orderly = [*current, *census.ranks(Code.NEW)] == list(range(wire.world_size))
    return Agreed(layout.values, len(current) if orderly else 0, move)


def _prepare(stake: Stake, layout: Layout, wire: Wire, owner: Owner | None) -> _Prepared:
    held = {} if stake.held is None else stake.held.tensors
    try:
        room = make_room(stake, layout, wire)
        rows = find_rows(layout.of_kind("per_position"), held, owner, wire.world_size)
    except AbsaError as error:
        return _Prepared(refusal=error)
    return _Prepared(room, rows)


def _count(stake: Stake, prepared: _Prepared, layout: Layout, wire: Wire) -> _Census:
    """Let every rank know what each has; the only sum of a hand-over."""
    size = wire.world_size
    parts = sorted({name.split("/", 1)[0] for name in layout.of_kind("per_position")})
    table = torch.zeros(1 + len(parts) * size, size, dtype=torch.int64)
    table[0, wire.rank] = stake.code if prepared.refusal is None else Code.REFUSES
    for i, part in enumerate(parts):
        if part in prepared.rows:
            table[1 + i * size + wire.rank] = prepared.rows[part].counts(size)
    table = table.to(wire.device)
    wire.collective.start_sum(table).wait()
    codes, *counts = table.cpu().split([1] + [size] * len(parts))
    return _Census(codes[0].tolist(), dict(zip(parts, counts, strict=True)))


def _move(
    stake: Stake,
    room: Mapping[str, Tensor],
    layout: Layout,
    census: _Census,
    wire: Wire,
    source: int,
) -> None:
    """Fill the room of all ranks that lack something."""
    held = {} if stake.held is None else stake.held.tensors
    new = census.ranks(Code.NEW)
    replicated = chains(census.ranks(Code.CURRENT), census.ranks(Code.BEHIND, Code.NEW))
    per_rank = chains([source], new)  # the others' entries are their own
    if wire.rank in replicated:
        link = replicated[wire.rank]
        tensors = held if link.giver is None else room
        stream(tensors, layout.of_kind("replicated"), link, wire)
    if wire.rank in per_rank:
        link = per_rank[wire.rank]
        tensors = held if link.giver is None else room
        stream(tensors, layout.of_kind("per_rank"), link, wire)


def _tree(stake: Stake, layout: Layout, received: Mapping[str, Tensor]) -> StateTree:
    """Join what a rank keeps and what it got."""
    held = stake.held
    if held is None:
        return StateTree(dict(received), layout.values, layout.kinds)
    kind = StateTree({}, {}, layout.kinds).kind
    own = {n: t for n, t in held.tensors.items() if stake.current or kind(n) == "per_rank"}
    values = {name: v for name, v in layout.values.items() if kind(name) != "per_rank"}
    values |= {name: v for name, v in held.values.items() if kind(name) == "per_rank"}
    return StateTree({**own, **received}, values, layout.kinds)
