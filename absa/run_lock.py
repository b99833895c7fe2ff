"""One writer per run: a lock that the operating system drops when its holder dies."""

import json
import os
import socket
import time
import warnings
from contextlib import suppress
from pathlib import Path

from absa.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class RunLock:
    """Holds the file ``lock`` of a run folder until `release`.

    The lock is `flock`'s, so it goes with the process however that ends, and no stale file can
    block a run; the file's text only says whom to look for. Where the file system knows no locks,
    a warning says that nothing guards the run.

    Args:
        folder: The run folder.

    Raises:
        CheckpointError: Somebody else holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._take(folder)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others write; the file stays, because removing it could break a waiting one."""
        with suppress(OSError):
            os.close(self._descriptor)
        self._descriptor = -1

    def _take(self, folder: Path) -> None:
        try:
            if fcntl is None:
                raise OSError("this operating system has no flock")
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise CheckpointError(
                f"{folder} is being written by {self._holder()}; let that run end or stop it first"
            ) from cause
        except OSError as cause:
            warnings.warn(f"{folder}: nothing keeps a second writer out: {cause}", stacklevel=4)
        about = {"pid": os.getpid(), "host": socket.gethostname(), "time": int(time.time())}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(about).encode(), 0)

    def _holder(self) -> str:
        try:
            about = json.loads(os.pread(self._descriptor, 1024, 0))
            return f"process {about['pid']} on {about['host']}"
        except (ValueError, KeyError, TypeError):
            return "another process"
