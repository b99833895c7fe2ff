"""How a worker process finds the coordinator, and what the two say when they meet."""

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from multiprocessing.connection import Connection

from cluster.elastic.protocol.messages import WorkerId


@dataclass(frozen=True)
class Invitation:
    """Where the coordinator is to be found; who holds the key may join.

    Args:
        ip: The address that it listens on.
        port: For statuses and replies.
        store_port: Of the store through which process groups are made.
        key: Proves that a worker belongs to the run; it never crosses the network.
    """

    ip: str
    port: int
    store_port: int
    key: bytes

    def __repr__(self) -> str:
        """Leave out the key: an invitation may end up in a log."""
        return f"Invitation({self.ip}:{self.port})"


@dataclass(frozen=True)
class Hello:
    """A worker's first words: the name by which its process can be found."""

    label: str


@dataclass(frozen=True)
class Welcome:
    """The answer to `Hello`.

    Args:
        worker: The worker's id.
        lease_s: How long it may train without hearing from the coordinator.
        first_lineage: The lineage of the run that the coordinator's lineage 0 is.
    """

    worker: WorkerId
    lease_s: float
    first_lineage: int


@dataclass(frozen=True)
class Farewell:
    """The training is over, for all: nobody is to be replaced."""


def hang_up(connection: Connection) -> None:
    """End a conversation, also one in which another thread is listening."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as view:
        view.shutdown(socket.SHUT_RDWR)


def give_up_after(connection: Connection, *, receive_s: float, send_s: float) -> None:
    """Let a read or a write that waits for the other side fail after a time; 0: never."""
    with socket.socket(fileno=connection.fileno()) as view:
        for option, limit_s in ((socket.SO_RCVTIMEO, receive_s), (socket.SO_SNDTIMEO, send_s)):
            seconds, fraction = divmod(limit_s, 1.0)
            value = struct.pack("@ll", int(seconds), int(fraction * 1e6))
            view.setsockopt(socket.SOL_SOCKET, option, value)
        view.detach()


def send_at_once(connection: Connection) -> None:
    """Let small messages leave without waiting for company."""
    with socket.socket(fileno=connection.fileno()) as view:
        view.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        view.detach()
