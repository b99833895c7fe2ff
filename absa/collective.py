"""How ranks talk to one another: a small protocol; the group is passed, never kept elsewhere."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch.distributed as dist
from torch import Tensor


class Pending(Protocol):
    """A sum or a message that is under way."""

    def wait(self) -> Any:
        """Return once the tensor may be used again (on CUDA: once later kernels may)."""
        ...


class Collective(Protocol):
    """The ranks of one generation."""

    @property
    def rank(self) -> int:
        """This process's number, in ``[0, world_size)``."""
        ...

    @property
    def world_size(self) -> int:
        """The number of processes."""
        ...

    @property
    def num_computing(self) -> int:
        """How many ranks take a share of the coming update: the first so many.

        The others take part in its sums alone: they still receive the state that it is applied to.
        """
        ...

    @property
    def superseded(self) -> bool:
        """Whether another group of ranks is announced; asked at every update, so it is cheap."""
        ...

    def ensure_current(self) -> None:
        """Return if an update that these ranks made may change the weights now.

        Raises:
            Exception: The group is over, or may be: another one may have gone on without this rank.
        """
        ...

    def start_sum(self, tensor: Tensor) -> Pending:
        """Begin to replace ``tensor`` by its sum over all ranks; every rank calls in one order."""
        ...

    def broadcast(self, tensors: list[Tensor], source: int) -> None:
        """Overwrite ``tensors`` on every rank by those of rank ``source``."""
        ...

    def broadcast_value(self, value: Any, source: int) -> Any:
        """Return the value that rank ``source`` passed; others may pass None."""
        ...

    def start_send(self, tensor: Tensor, to: int) -> Pending:
        """Begin to send a contiguous ``tensor`` to one other rank.

        Messages between two ranks arrive in the order in which they were sent.
        """
        ...

    def start_receive(self, tensor: Tensor, source: int) -> Pending:
        """Begin to overwrite a contiguous ``tensor`` by a message of as many bytes."""
        ...


class _Done:
    def wait(self) -> None:
        """Return at once: a sum over one rank is done before it starts."""


@dataclass(frozen=True)
class SingleProcess:
    """A group of one."""

    rank: int = 0
    world_size: int = 1
    num_computing: int = 1
    superseded: bool = False

    def ensure_current(self) -> None:
        """Return: nobody can take this rank's place."""

    def start_sum(self, tensor: Tensor) -> Pending:
        """Leave ``tensor`` as it is."""
        return _Done()

    def broadcast(self, tensors: list[Tensor], source: int) -> None:
        """Leave ``tensors`` as they are."""

    def broadcast_value(self, value: Any, source: int) -> Any:
        """Return ``value``."""
        return value

    def start_send(self, tensor: Tensor, to: int) -> Pending:
        """Refuse: there is nobody else."""
        raise ValueError(f"a group of one process has no rank {to} to send to")

    def start_receive(self, tensor: Tensor, source: int) -> Pending:
        """Refuse: there is nobody else."""
        raise ValueError(f"a group of one process has no rank {source} to receive from")


ALONE: Collective = SingleProcess()
"""The group of a process that trains by itself."""


@dataclass(frozen=True)
class ProcessGroup:
    """Ranks joined by a `torch.distributed` group (gloo or NCCL)."""

    group: dist.ProcessGroup

    @property
    def rank(self) -> int:
        """This process's rank in the group."""
        return self.group.rank()

    @property
    def world_size(self) -> int:
        """The number of ranks in the group."""
        return self.group.size()

    @property
    def num_computing(self) -> int:
        """All of them: a plain group has nobody who joins."""
        return self.world_size

    @property
    def superseded(self) -> bool:
        """A plain group never changes."""
        return False

    def ensure_current(self) -> None:
        """Return: a plain group never changes."""

    def start_sum(self, tensor: Tensor) -> Pending:
        """Begin an all-reduce."""
        pending: Pending = dist.all_reduce(tensor, group=self.group, async_op=True)
        return pending

    def broadcast(self, tensors: list[Tensor], source: int) -> None:
        """Broadcast each tensor in turn, whatever its memory layout on each rank."""
        root = dist.get_global_rank(self.group, source)
        for tensor in tensors:
            message = tensor.contiguous()
            dist.broadcast(message, src=root, group=self.group)
            if message is not tensor:
                tensor.copy_(message)

    def broadcast_value(self, value: Any, source: int) -> Any:
        """Broadcast any picklable value between processes of this run."""
        box = [value]
        dist.broadcast_object_list(
            box, src=dist.get_global_rank(self.group, source), group=self.group
        )
        return box[0]

    def start_send(self, tensor: Tensor, to: int) -> Pending:
        """Begin to send to one rank."""
        return self.group.send([tensor], to, 0)

    def start_receive(self, tensor: Tensor, source: int) -> Pending:
        """Begin to receive from one rank."""
        return self.group.recv([tensor], source, 0)
