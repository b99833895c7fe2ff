"""The ranks of one generation: a process group whose waits end when the generation does."""

import functools
import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch._C._distributed_c10d import HashStore, PrefixStore, Store
from torch.distributed import ProcessGroupGloo

from absa.collective import Pending
from cluster.elastic.membership import Membership
from cluster.elastic.moving import Moving
from cluster.elastic.under_way import Message, OnDevice, OnHost, UnderWay
from cluster.ray_failure import LostPeerError

_LOOK_S = 0.1
"""How often a wait looks whether its generation is over."""

_TIMEOUT = timedelta(minutes=30)
"""After which torch gives up a collective; who hangs is found out by the coordinator, not by it."""

_abandoned: list["ElasticGroup"] = []
"""Groups in which a collective has neither ended nor failed: freeing one would wait for it."""


@dataclass
class ElasticGroup:
    """A `Collective` of one generation.

    A rank that hangs makes no collective fail. So no wait is longer than a moment: each looks
    whether the coordinator has broken the generation.

    Args:
        membership: This worker's.
        generation: The number of the generation.
        rank: This worker's rank in it.
        world_size: Its number of members.
        device: Of the tensors that are sent.
        num_computing: Ranks that take a share of the coming update: the first so many.
    """

    membership: Membership
    generation: int
    rank: int
    world_size: int
    device: torch.device
    num_computing: int
    _backend: Any = None
    _moving: Moving | None = None
    _under_way: list["_Watched"] = field(default_factory=list)

    @property
    def superseded(self) -> bool:
        """Whether a newer generation is announced."""
        return self.membership.is_superseded(self.generation)

    def ensure_current(self) -> None:
        """Return if an update may change the weights now; state that still moves is waited for.

        Raises:
            LostPeerError: This worker may have been replaced, or the state did not come.
        """
        if self._moving is not None:
            self._moving.finish()
            self._moving, self.num_computing = None, self.world_size
        self.membership.ensure_current(self.generation)

    def move_meanwhile(self, moving: Moving, num_computing: int) -> None:
        """Let state move during the coming update, which the first ranks make for all."""
        self._moving, self.num_computing = moving, num_computing

    def start_sum(self, tensor: Tensor) -> Pending:
        """Begin an all-reduce."""
        if self.world_size == 1:
            return _DONE
        return self._start(self._kind, lambda: self._backend.allreduce([tensor]))

    def start_broadcast(self, tensor: Tensor, source: int) -> Pending:
        """Begin to overwrite ``tensor``, which is contiguous, by that of rank ``source``."""
        if self.world_size == 1:
            return _DONE
        return self._start(self._kind, lambda: self._backend.broadcast(tensor, source))

    def start_send(self, tensor: Tensor, to: int) -> Pending:
        """Begin to send a contiguous tensor to one rank."""
        return self._start(self._kind_of_message, lambda: self._backend.send([tensor], to, 0))

    def start_receive(self, tensor: Tensor, source: int) -> Pending:
        """Begin to overwrite a contiguous tensor by what one rank sends."""
        return self._start(self._kind_of_message, lambda: self._backend.recv([tensor], source, 0))

    def broadcast(self, tensors: list[Tensor], source: int) -> None:
        """Overwrite ``tensors``, whatever their memory layout, by those of rank ``source``."""
        messages = [tensor.contiguous() for tensor in tensors]
        pending = [self.start_broadcast(message, source) for message in messages]
        for each in pending:
            each.wait()
        for tensor, message in zip(tensors, messages, strict=True):
            if message is not tensor:
                tensor.copy_(message)

    def broadcast_value(self, value: Any, source: int) -> Any:
        """Return the picklable value that rank ``source`` passed."""
        if self.world_size == 1:
            return value
        data = pickle.dumps(value) if self.rank == source else b""
        size = torch.tensor([len(data)], device=self.device)
        self.start_broadcast(size, source).wait()
        content = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        if self.rank == source:
            content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        self.start_broadcast(content, source).wait()
        return pickle.loads(content.cpu().numpy().tobytes())

    @property
    def _kind(self) -> type[OnHost | OnDevice]:
        return OnDevice if self.device.type == "cuda" else OnHost

    @property
    def _kind_of_message(self) -> type[Message | OnDevice]:
        return OnDevice if self.device.type == "cuda" else Message

    def _start(self, kind: Callable[[Any], UnderWay], begin: Callable[[], Any]) -> Pending:
        try:
            work = kind(begin())
        except RuntimeError as error:
            raise LostPeerError(str(error)) from error
        watched = _Watched(work, self)
        self._under_way.append(watched)
        return watched

    def wait_for(self, watched: "_Watched") -> None:
        """Wait for a collective of this group.

        Raises:
            LostPeerError: It failed, or the generation is over.
        """
        try:
            with self.membership.waiting():
                while not watched.work.has_ended(_LOOK_S):
                    if self.membership.is_broken(self.generation):
                        raise LostPeerError(f"generation {self.generation} is over")
        except RuntimeError as error:
            raise LostPeerError(str(error)) from error
        self._under_way.remove(watched)

    def leave(self) -> None:
        """Give up the process group."""
        if self._moving is not None:
            self.membership.give_up(self.generation)
            self._moving.join()
            self._moving = None
        _abandoned[:] = [group for group in _abandoned if not group._free()]
        if self._free():
            return
        _abandoned.append(self)
        if self.device.type == "cuda":
            self._backend.abort()

    def _free(self) -> bool:
        """Let go of what torch holds, connections and threads, unless that would be to wait."""
        if self.is_busy:
            return False
        self._under_way.clear()
        self._backend = None
        return True

    @property
    def is_busy(self) -> bool:
        """Whether a collective has neither ended nor failed."""
        return any(watched.work.is_busy for watched in self._under_way)


@dataclass(eq=False)
class _Watched:
    work: UnderWay
    group: ElasticGroup

    def wait(self) -> None:
        """Return once it is done."""
        self.group.wait_for(self)


class _Done:
    def wait(self) -> None:
        """Return at once."""


_DONE = _Done()


def connect(
    membership: Membership, generation: int, rank: int, world_size: int, device: torch.device
) -> ElasticGroup:
    """Make the process group of a generation; every member calls this, and all are there.

    Raises:
        LostPeerError: A member was lost meanwhile.
    """
    group = ElasticGroup(membership, generation, rank, world_size, device, world_size)
    if world_size > 1:
        making = _Making(lambda: _make(membership, generation, rank, world_size, device))
        while making.is_alive():
            making.join(_LOOK_S)
            if membership.is_broken(generation):
                raise LostPeerError(f"generation {generation} is over")
        if making.error is not None:
            raise LostPeerError(making.error)
        group._backend = making.made
    return group


def rehearse(ip: str, device: torch.device) -> None:
    """Make a group of one, so that the first real one is not slow."""
    if device.type != "cuda":
        _gloo(HashStore(), 0, 1, ip).allreduce([torch.zeros(1)]).wait()


class _Making(threading.Thread):
    """Makes a group beside the training thread: torch waits for peers without looking up."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__(name="process-group", daemon=True)
        self._make, self.made = make, None
        self.error: str | None = None
        self.start()

    def run(self) -> None:
        try:
            self.made = self._make()
        except RuntimeError as error:
            self.error = str(error)


def _make(
    membership: Membership, generation: int, rank: int, world_size: int, device: torch.device
) -> Any:
    # A client of its own: one that waits holds up everything else on its connection.
    store = PrefixStore(f"group/{generation}", membership.store())
    if device.type == "cuda":
        from torch.distributed import ProcessGroupNCCL  # builds for the CPU lack it

        # Its watchdog would end the process of whoever survives a lost peer.
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
        options = ProcessGroupNCCL.Options()
        options._timeout = _TIMEOUT
        return ProcessGroupNCCL(store, rank, world_size, options)
    return _gloo(store, rank, world_size, membership.ip)


def _gloo(store: Store, rank: int, world_size: int, ip: str) -> Any:
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices, options._timeout = [_link(ip)], _TIMEOUT
    return ProcessGroupGloo(store, rank, world_size, options)


@functools.cache
def _link(ip: str) -> Any:
    """Return gloo's side of this address; one for all generations, or each costs 25 ms more."""
    return ProcessGroupGloo.create_device(hostname=ip)
