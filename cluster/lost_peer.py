"""Tells a lost peer, which a new worker group may cure, from an error that would come again."""

from dataclasses import dataclass
from typing import Any

import ray
import torch
import torch.distributed as dist
from torch import Tensor

from absa.collective import Pending, ProcessGroup
from cluster.ray_failure import LostPeerError


def may_pass(error: BaseException) -> bool:
    """Return whether the same work may succeed in a new worker group.

    So do lost peers, an unreachable Ray, network errors, and a GPU that reports a fault: another
    one may be given next time. Everything else was raised by the task or by absa, from the same
    input it would be raised again.
    """
    gpu_fault = getattr(torch, "AcceleratorError", LostPeerError)
    passing = (LostPeerError, dist.DistError, ray.exceptions.RayError, ConnectionError)
    return isinstance(error, (*passing, TimeoutError, gpu_fault))


class GroupOfRay(ProcessGroup):
    """The ranks of a worker group; whatever fails in a collective is a `LostPeerError`.

    Gloo raises plain ``RuntimeError``, which could be anybody's.
    """

    def start_sum(self, tensor: Tensor) -> Pending:
        """Begin an all-reduce."""
        try:
            return _Watched(super().start_sum(tensor))
        except RuntimeError as error:
            raise LostPeerError(str(error)) from error

    def broadcast(self, tensors: list[Tensor], source: int) -> None:
        """Broadcast each tensor in turn."""
        try:
            super().broadcast(tensors, source)
        except RuntimeError as error:
            raise LostPeerError(str(error)) from error

    def broadcast_value(self, value: Any, source: int) -> Any:
        """Broadcast any picklable value."""
        try:
            return super().broadcast_value(value, source)
        except RuntimeError as error:
            raise LostPeerError(str(error)) from error

    def start_send(self, tensor: Tensor, to: int) -> Pending:
        """Begin to send to one rank."""
        try:
            return _Watched(super().start_send(tensor, to))
        except RuntimeError as error:
            raise LostPeerError(str(error)) from error

    def start_receive(self, tensor: Tensor, source: int) -> Pending:
        """Begin to receive from one rank."""
        try:
            return _Watched(super().start_receive(tensor, source))
        except RuntimeError as error:
            raise LostPeerError(str(error)) from error


@dataclass(frozen=True)
class _Watched:
    pending: Pending

    def wait(self) -> None:
        """Return once it is done."""
        try:
            self.pending.wait()
        except RuntimeError as error:
            raise LostPeerError(str(error)) from error
