"""The source tells what its state looks like, in one message unless that is very long."""

import torch
from torch import Tensor

from absa.errors import ResizeError
from absa.handover.layout import Layout, decode, describe, encode
from absa.handover.wire import Wire
from absa.state import StateTree

FIRST_BYTES = 64 << 10
"""Of the first message, which the others must know beforehand: room for some 900 tensors. A second
message for the rest costs a small model more than the bytes that are not needed."""

_LENGTH_BYTES = 8


def announce(tree: StateTree | None, wire: Wire, source: int) -> Layout:
    """Return the layout of the source's state, on every rank.

    Args:
        tree: The source's state; what others pass is not looked at.
        wire: The ranks.
        source: Whose state it is.

    Raises:
        ResizeError: The source cannot hand its state over; all ranks raise it.
    """
    data, problem = b"", None
    if wire.rank == source:
        try:
            if tree is None:
                raise ResizeError(f"rank {source} was to hand over its state and has none")
            data = encode(describe(tree))
        except ResizeError as error:
            problem = error
    data = _broadcast(data, wire, source)
    if problem is not None:
        raise problem
    if not data:
        raise ResizeError(f"rank {source} cannot hand over its state; its own error says why")
    return decode(data)


def _broadcast(data: bytes, wire: Wire, source: int) -> bytes:
    first = torch.zeros(FIRST_BYTES, dtype=torch.uint8)
    if wire.rank == source:
        written = len(data).to_bytes(_LENGTH_BYTES, "little") + data
        begin = written[:FIRST_BYTES]
        first[: len(begin)] = _tensor(begin)
        rest = _tensor(written[FIRST_BYTES:])
    first = first.to(wire.device)
    wire.collective.broadcast([first], source)
    if wire.rank == source and len(data) + _LENGTH_BYTES <= FIRST_BYTES:
        return data
    received = first.cpu().numpy().tobytes()
    length = int.from_bytes(received[:_LENGTH_BYTES], "little")
    missing = length + _LENGTH_BYTES - FIRST_BYTES
    if missing <= 0:
        return received[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if wire.rank != source:
        rest = torch.empty(missing, dtype=torch.uint8)
    rest = rest.to(wire.device)
    wire.collective.broadcast([rest], source)
    return received[_LENGTH_BYTES:] + rest.cpu().numpy().tobytes()


def _tensor(data: bytes) -> Tensor:
    return (
        torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if data
        else torch.empty(0, dtype=torch.uint8)
    )
