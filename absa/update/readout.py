"""Bring what is told of an update to the host without making a GPU wait."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from absa.update.telling import About


class Copying(Protocol):
    """A tensor on its way to the host."""

    def wait(self) -> list[float]:
        """Return its values once they are there."""
        ...


Send = Callable[[Float[Tensor, " n"]], Copying]
"""Starts to copy a tensor that nobody will change."""


class OnHost:
    """A tensor that is there already."""

    def __init__(self, values: Float[Tensor, " n"]) -> None:
        self._values = values

    def wait(self) -> list[float]:
        """Return the values."""
        return self._values.tolist()


class FromCuda:
    """A copy through pinned memory, on the current stream."""

    def __init__(self, values: Float[Tensor, " n"]) -> None:
        self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        self._host.copy_(values, non_blocking=True)
        self._copied = torch.cuda.Event()
        self._copied.record()

    def wait(self) -> list[float]:
        """Return the values once the device has come to where they are."""
        self._copied.synchronize()
        return self._host.tolist()


class Readout:
    """A queue of values between the device and the host.

    Reading at once would make the host wait for the device at every update, so results are taken
    ``lag`` updates late: at the same update on every rank, whether or not they have arrived before.

    Args:
        lag: How many updates a result stays on its way, at least 0.
        send: Starts a copy.
    """

    def __init__(self, lag: int, send: Send = OnHost) -> None:
        self.lag, self._send = lag, send
        self._queue: deque[tuple[Copying, About]] = deque()

    def post(self, values: Float[Tensor, " n"], about: About) -> None:
        """Start to bring ``values`` over."""
        self._queue.append((self._send(values), about))

    def take(self) -> list[tuple[list[float], About]]:
        """Return what is due, oldest first, each with what was known of it."""
        return [self._pop() for _ in range(len(self._queue) - self.lag)]

    def flush(self) -> list[tuple[list[float], About]]:
        """Wait for everything that is still on its way."""
        return [self._pop() for _ in range(len(self._queue))]

    def _pop(self) -> tuple[list[float], About]:
        oldest, about = self._queue.popleft()
        return oldest.wait(), about
