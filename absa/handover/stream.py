"""Sends parcels down a chain of ranks, several at a time."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from absa.collective import Pending
from absa.handover.layout import Form
from absa.handover.parcels import Lines, Parcel, Piece, cut, pack, unpack
from absa.handover.wire import Wire

IN_FLIGHT = 8
"""Parcels under way at a time: the wire never waits, and few buckets are held."""


@dataclass(frozen=True, slots=True)
class Link:
    """A rank's place in a chain.

    Args:
        giver: From whom it receives; None: it has the state.
        taker: To whom it passes it on, or None.
    """

    giver: int | None
    taker: int | None


def chains(givers: Sequence[int], takers: Sequence[int]) -> dict[int, Link]:
    """Share takers out among givers, each of which begins a chain.

    In a chain nobody sends the state twice, so no network card is a bottleneck.

    Args:
        givers: Ranks that have the state, at least one.
        takers: Ranks that lack it.

    Returns:
        The links of those ranks that send or receive.
    """
    links: dict[int, Link] = {}
    for i, giver in enumerate(givers):
        chain = [giver, *takers[i :: len(givers)]]
        if len(chain) > 1:
            before, after = [None, *chain[:-1]], [*chain[1:], None]
            links |= {r: Link(b, a) for r, b, a in zip(chain, before, after, strict=True)}
    return links


def stream(
    tensors: Mapping[str, Tensor],
    forms: Mapping[str, Form],
    link: Link,
    wire: Wire,
) -> None:
    """Do one rank's part in handing tensors down a chain.

    Args:
        tensors: A rank with a giver has them overwritten; the others only read them.
        forms: Of all that travel, the same on every rank of the chain.
        link: The rank's place.
        wire: The ranks.
    """
    parcels = cut(forms)
    lines = Lines(tensors, forms, wire.device)
    if link.giver is None:
        assert link.taker is not None
        _give(parcels, tensors, lines, link.taker, wire)
    else:
        _take(parcels, tensors, lines, link, wire)
        lines.settle()


def _give(
    parcels: Sequence[Parcel],
    tensors: Mapping[str, Tensor],
    lines: Lines,
    taker: int,
    wire: Wire,
) -> None:
    sent: deque[tuple[Pending, Tensor]] = deque()
    for parcel in parcels:
        if isinstance(parcel, Piece):
            message = lines.to_send(parcel)
        else:
            message = pack(parcel, tensors, wire.device)
        _drain(sent, IN_FLIGHT - 1)
        sent.append((wire.collective.start_send(message, taker), message))
    _drain(sent, 0)


def _take(
    parcels: Sequence[Parcel],
    tensors: Mapping[str, Tensor],
    lines: Lines,
    link: Link,
    wire: Wire,
) -> None:
    giver = link.giver
    assert giver is not None
    coming: deque[tuple[Pending, Tensor]] = deque()
    sent: deque[tuple[Pending, Tensor]] = deque()
    ahead = iter(parcels)

    def post(parcel: Parcel) -> None:
        if isinstance(parcel, Piece):
            message = lines.to_receive(parcel)
        else:
            message = torch.empty(parcel.num_bytes, dtype=torch.uint8, device=wire.device)
        coming.append((wire.collective.start_receive(message, giver), message))

    for parcel in islice(ahead, IN_FLIGHT):
        post(parcel)
    for parcel in parcels:
        pending, message = coming.popleft()
        pending.wait()
        if link.taker is not None:
            _drain(sent, IN_FLIGHT - 1)
            sent.append((wire.collective.start_send(message, link.taker), message))
        for following in islice(ahead, 1):
            post(following)
        if not isinstance(parcel, Piece):
            unpack(parcel, tensors, message)
    _drain(sent, 0)


def _drain(sent: deque[tuple[Pending, Tensor]], left: int) -> None:
    """Wait until at most ``left`` messages are under way."""
    while len(sent) > left:
        sent.popleft()[0].wait()
