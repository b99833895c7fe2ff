"""Where a journal's lines go: a local file, or segments in an object store."""

import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path

from absa.errors import CheckpointError
from absa.storage import Storage, explained

SEGMENT_BYTES = 256 << 10
"""A segment is written anew at every flush: this bounds what that costs, and how many there are."""
FLUSH_S = 2.0
"""The most that a killed process loses on an object store."""


class LocalLog:
    """Appends to a local file, after cutting off the torn end that a crash may have left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._descriptor: int | None = os.open(path, flags, 0o666)
        try:
            self._end = _cut_torn_end(self._descriptor)
        except BaseException:
            os.close(self._descriptor)
            raise

    def write(self, line: bytes) -> None:
        """Append one line; when the disk is full, none of it."""
        descriptor = self._open_descriptor()
        with explained("write", str(self._path)):
            try:
                at = 0
                while at < len(line):
                    at += os.write(descriptor, line[at:])
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, self._end)
                raise
        self._end += len(line)

    def sync(self) -> None:
        """Force what was appended to the disk."""
        with explained("write", str(self._path)):
            os.fsync(self._open_descriptor())

    def close(self) -> None:
        """Sync and close; a second call does nothing."""
        if self._descriptor is None:
            return
        try:
            self.sync()
        finally:
            os.close(self._descriptor)
            self._descriptor = None

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise CheckpointError(f"{self._path} is closed")
        return self._descriptor


class SegmentLog:
    """Collects lines in memory and writes them every few seconds from a thread.

    Each object is written whole at every flush until it is full, then the next one begins. A name
    carries a random part: two writers never overwrite each other.

    Args:
        folder: The run folder.
        number: The number of the first segment.
        flush_s: Seconds between flushes.
    """

    def __init__(self, folder: Storage, number: int, flush_s: float = FLUSH_S) -> None:
        self._folder = folder
        self._number = number
        self._name = self._new_name()
        self._lines = b""
        self._num_written = 0
        self._turn = threading.Lock()
        self._flushing = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._flush_until_closed, args=(flush_s,), name="journal", daemon=True
        )
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Take one line; it is written within ``flush_s``, or later if the store is away."""
        with self._turn:
            if self._closing.is_set():
                raise CheckpointError(f"the journal in {self._folder.location} is closed")
            self._lines += line

    def sync(self) -> None:
        """Write what is there now, or say why that fails."""
        with self._flushing:
            # A slow store must not hold up `write`: its lock is free during the upload.
            with self._turn:
                name, lines = self._name, self._lines
            if len(lines) == self._num_written:
                return
            self._folder.write(name, [lines])
            with self._turn:
                self._num_written = len(lines)
                if len(lines) >= SEGMENT_BYTES:
                    self._number += 1
                    self._name = self._new_name()
                    self._lines, self._num_written = self._lines[len(lines) :], 0

    def close(self) -> None:
        """Write the rest and end the thread."""
        self._closing.set()
        self._thread.join()
        self.sync()

    def _flush_until_closed(self, flush_s: float) -> None:
        while not self._closing.wait(flush_s):
            # The lines are kept and written by a later flush; `sync` and `close` raise.
            with suppress(CheckpointError):
                self.sync()

    def _new_name(self) -> str:
        return f"events-{self._number:06d}-{secrets.token_hex(4)}.jsonl"


def _cut_torn_end(descriptor: int) -> int:
    """Truncate a file after its last newline and return its size [bytes]."""
    end = size = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)
    return end
