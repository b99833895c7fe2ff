"""The line on which an operator reaches a run that is training: `cluster.steer` is the other end.

While a run trains, the file ``control.json`` in its folder says where the line is and holds its
key, so whoever may read that file (this user: mode 0600) may speak. One JSON message goes each way.
"""

import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any

from absa.errors import AbsaError
from absa.storage import LocalStorage, Storage, explained
from cluster.operator import Order

CONTROL_FILE = "control.json"
PATIENCE_S = 10.0
"""How long either end waits for the other, in all: each only has to answer."""
MAX_BYTES = 4096
"""Of a message; a longer one ends the connection."""

# The peer broke off, sent what is no message, or has another key; the last is what
# `answer_challenge` raises when the peer speaks another protocol.
BROKEN = (OSError, EOFError, AuthenticationError, AssertionError)

_MAX_SPEAKERS = 32
"""At once; each that says nothing is cut off after `PATIENCE_S`."""


class OperatorLine:
    """Listens in a thread of its own; everybody who connects is heard in another one.

    Args:
        obey: Called with what an operator asks for, from any thread; returns the answer, or
            refuses with an `AbsaError`.
        ip: Where to listen; the port is any free one.
        patience_s: How long a connection may last.
    """

    def __init__(
        self, obey: Callable[[Order], str], ip: str, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._obey, self._patience_s = obey, patience_s
        self.key = secrets.token_bytes(32)
        self._server = socket.create_server((ip, 0))
        self.ip, self.port = self._server.getsockname()[:2]
        self._closing = threading.Event()
        self._seats = threading.BoundedSemaphore(_MAX_SPEAKERS)
        self._thread = threading.Thread(target=self._listen, name="operator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        with suppress(OSError):  # wakes the thread where closing the socket would not
            socket.create_connection((self.ip, self.port), timeout=1).close()
        self._thread.join()
        self._server.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                peer, _ = self._server.accept()
            except OSError:  # such as too many open files: perhaps only now
                self._closing.wait(0.1)
                continue
            if self._closing.is_set() or not self._seats.acquire(blocking=False):
                peer.close()
                continue
            threading.Thread(target=self._hear, args=(peer,), daemon=True).start()

    def _hear(self, peer: socket.socket) -> None:
        try:
            with suppress(*BROKEN), connection(peer, self._patience_s) as line:
                deliver_challenge(line, self.key)
                answer_challenge(line, self.key)
                line.send_bytes(json.dumps(self._answer(line.recv_bytes(MAX_BYTES))).encode())
        finally:
            self._seats.release()

    def _answer(self, message: bytes) -> dict[str, Any]:
        order = Order.read(message)
        if order is None:
            form = '{"wish": N}, {"hold": true} or {"max_batch": N}'
            return {"ok": False, "text": f"the message must be {form}"}
        try:
            return {"ok": True, "text": self._obey(order)}
        except AbsaError as error:
            return {"ok": False, "text": str(error)}


@contextmanager
def connection(peer: socket.socket, patience_s: float) -> Iterator[Connection]:
    """Speak with a peer inside a ``with`` block, which breaks off when patience is at an end.

    Args:
        peer: A connected socket, which is closed at the end.
        patience_s: Seconds for the whole block; after them every call in it fails.
    """
    peer.settimeout(None)
    over = threading.Timer(patience_s, _break_off, [peer])
    over.daemon = True
    with peer, Connection(os.dup(peer.fileno())) as line:
        over.start()
        try:
            yield line
        finally:
            over.cancel()


def _break_off(peer: socket.socket) -> None:
    with suppress(OSError):  # it has just ended by itself
        peer.shutdown(socket.SHUT_RDWR)


@contextmanager
def operator_line(obey: Callable[[Order], str], ip: str, folder: Storage) -> Iterator[None]:
    """Listen for the duration of a ``with`` block, and say in the run folder where.

    In an object store nothing is said, and nobody listens: what lies there is not for this user's
    eyes alone.

    Args:
        obey: As for `OperatorLine`.
        ip: As for `OperatorLine`.
        folder: The run's.

    Raises:
        CheckpointError: The file cannot be written.
    """
    if not isinstance(folder, LocalStorage):
        yield
        return
    line = OperatorLine(obey, ip)
    path = folder.path / CONTROL_FILE
    try:
        with explained("write", str(path)):
            _write(path, {"ip": line.ip, "port": line.port, "key": line.key.hex()})
        try:
            yield
        finally:
            with explained("remove", str(path)):
                path.unlink(missing_ok=True)
    finally:
        line.close()


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write whole or not at all, and never readable for others, not even for a moment."""
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            json.dump(content, file)
        os.replace(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)
