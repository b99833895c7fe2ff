"""The folder of a Ray of our own: it goes when the process goes, however that ends."""

import os
import subprocess
import sys
import tempfile

_CLEANER = """
import os, shutil, sys, time
if sys.stdin.read() != "keep":
    for _ in range(40):
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        if not os.path.exists(sys.argv[1]):
            break
        time.sleep(0.25)
"""
"""Run by a process of its own: it waits until its standard input is closed, which the operating
system does when we die, and tries again because Ray's last processes may still be writing."""


class SessionFolder:
    """A temporary folder with a process that watches over it.

    Ray ends its own processes when the driver is killed, but leaves its files.
    """

    def __init__(self) -> None:
        # A short path: Ray makes Unix sockets below it, whose paths are limited to 107 bytes.
        short = "/tmp" if os.path.isdir("/tmp") else None
        self.path = tempfile.mkdtemp(prefix="absa-", dir=short)
        self._cleaner = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CLEANER, self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Out of reach of a Ctrl-C, which a terminal sends to the whole process group.
            start_new_session=True,
        )
        self._kept = False

    @property
    def logs(self) -> str:
        """Where Ray writes its logs."""
        return os.path.join(self.path, "session_latest", "logs")

    def keep(self) -> None:
        """Leave the folder for somebody to look into."""
        self._kept = True

    def close(self) -> None:
        """Remove the folder, unless it is kept."""
        self._cleaner.communicate(b"keep" if self._kept else None)
