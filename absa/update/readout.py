"""Bring an update's scalars to the host without making a GPU wait."""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class _OnItsWay:
    values: Tensor
    copied: torch.cuda.Event | None
    num_samples: int


class Readout:
    """A queue of scalars between the device and the host.

    On a CPU what is posted can be taken at once. On CUDA it is copied to pinned memory and taken
    one update later, at the same update on every rank: reading it at once would make the host wait
    for the device at every update.
    """

    def __init__(self, device: torch.device) -> None:
        self._lag = 1 if device.type == "cuda" else 0
        self._queue: deque[_OnItsWay] = deque()

    def post(self, values: Tensor, num_samples: int) -> None:
        """Start to bring ``values`` (shape: numbers) over."""
        if self._lag == 0:
            self._queue.append(_OnItsWay(values, None, num_samples))
            return
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        self._queue.append(_OnItsWay(host, copied, num_samples))

    def take(self) -> list[tuple[list[float], int]]:
        """Return what is due, oldest first, each with its number of samples."""
        return [self._pop() for _ in range(len(self._queue) - self._lag)]

    def flush(self) -> list[tuple[list[float], int]]:
        """Wait for everything that is still on its way."""
        return [self._pop() for _ in range(len(self._queue))]

    def _pop(self) -> tuple[list[float], int]:
        oldest = self._queue.popleft()
        if oldest.copied is not None:
            oldest.copied.synchronize()
        return oldest.values.tolist(), oldest.num_samples
