"""Sends parcels down a chain of ranks, several at a time."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from absa.collective import Pending
from absa.handover.layout import Form
from absa.handover.parcels import Bucket, Lines, Parcel, cut, pack, unpack
from absa.handover.wire import Wire


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
    tensors: Mapping[str, Tensor], forms: Mapping[str, Form], link: Link, wire: Wire
) -> None:
    """Do one rank's part in handing tensors down a chain.

    Args:
        tensors: A rank with a giver has them overwritten; the others only read them.
        forms: Of all that travel, the same on every rank of the chain.
        link: The rank's place.
        wire: The ranks.
    """
    parcels = cut(forms, wire.sizes)
    rank = _Rank(tensors, Lines(tensors, forms, wire.device), link, wire)
    if link.giver is None:
        rank.give(parcels)
    else:
        rank.take(parcels, link.giver)


@dataclass(frozen=True)
class _Rank:
    """A rank while it streams: what is on its way from it and to it, and buckets to use again.

    Fresh memory costs the host more than the copy into it.
    """

    tensors: Mapping[str, Tensor]
    lines: Lines
    link: Link
    wire: Wire
    sent: deque[tuple[Pending, Parcel, Tensor]] = field(default_factory=deque)
    coming: deque[tuple[Pending, Tensor]] = field(default_factory=deque)
    free: list[Tensor] = field(default_factory=list)

    def give(self, parcels: Sequence[Parcel]) -> None:
        for parcel in parcels:
            self._drain(self.wire.sizes.in_flight - 1)
            if isinstance(parcel, Bucket):
                message = self._memory(parcel)
                pack(parcel, self.tensors, message)
            else:
                message = self.lines.to_send(parcel)
            self._send(parcel, message)
        self._drain(0)

    def take(self, parcels: Sequence[Parcel], giver: int) -> None:
        ahead: Iterator[Parcel] = iter(parcels)
        self._post(islice(ahead, self.wire.sizes.in_flight), giver)
        for parcel in parcels:
            pending, message = self.coming.popleft()
            pending.wait()
            self._send(parcel, message)
            if isinstance(parcel, Bucket):
                unpack(parcel, self.tensors, message)
            self._drain(self.wire.sizes.in_flight - 1)
            self._post(islice(ahead, 1), giver)
        self._drain(0)
        self.lines.settle()

    def _post(self, parcels: Iterator[Parcel], giver: int) -> None:
        """Make ready to receive."""
        for parcel in parcels:
            if isinstance(parcel, Bucket):
                message = self._memory(parcel)
            else:
                message = self.lines.to_receive(parcel)
            self.coming.append((self.wire.collective.start_receive(message, giver), message))

    def _send(self, parcel: Parcel, message: Tensor) -> None:
        """Pass a message on, if there is somebody to take it."""
        if self.link.taker is None:
            self._reuse(parcel, message)
            return
        pending = self.wire.collective.start_send(message, self.link.taker)
        self.sent.append((pending, parcel, message))

    def _drain(self, left: int) -> None:
        """Wait until at most ``left`` of the messages that were sent are under way."""
        while len(self.sent) > left:
            pending, parcel, message = self.sent.popleft()
            pending.wait()
            self._reuse(parcel, message)

    def _memory(self, bucket: Bucket) -> Tensor:
        for i, memory in enumerate(self.free):
            if len(memory) >= bucket.num_bytes:
                return self.free.pop(i)[: bucket.num_bytes]
        return torch.empty(bucket.num_bytes, dtype=torch.uint8, device=self.wire.device)

    def _reuse(self, parcel: Parcel, message: Tensor) -> None:
        if isinstance(parcel, Bucket):
            self.free.append(message)
