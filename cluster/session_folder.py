"""The folder of a Ray of our own: it goes when the process goes, however that ends."""

import os
import subprocess
import sys
import tempfile

MARK = "ABSA_SESSION_FOLDER"
"""The environment variable by which the processes of a session are known."""

_CLEANER = """
import contextlib, os, shutil, signal, sys, time

def belongs(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            return f"{sys.argv[1]}={sys.argv[2]}".encode() in environ.read().split(bytes(1))
    except OSError:
        return False

def living():
    pids = os.listdir("/proc") if os.path.isdir("/proc") else []
    return [int(pid) for pid in filter(str.isdigit, pids) if belongs(pid)]

word = sys.stdin.read()
if not word:
    until_s = time.monotonic() + 3  # most end by themselves, in good order
    while living() and time.monotonic() < until_s:
        time.sleep(0.1)
    for pid in living():
        with contextlib.suppress(ProcessLookupError):  # it has ended since
            os.kill(pid, signal.SIGKILL)
if word != "keep":
    for _ in range(40):
        shutil.rmtree(sys.argv[2], ignore_errors=True)
        if not os.path.exists(sys.argv[2]):
            break
        time.sleep(0.25)
"""
"""Run by a process of its own: it waits until its standard input is closed, which the operating
system does when we die. Ray's agents would then wait a minute or more for Ray's dead head; and its
last processes may still be writing, so the removal is tried again."""


class SessionFolder:
    """A temporary folder with a process that watches over it.

    When the driver is killed Ray ends most of its processes, but leaves two agents and all files.
    Processes that were started with `environment` in force are ended then; on Linux only.
    """

    def __init__(self) -> None:
        # A short path: Ray makes Unix sockets below it, whose paths are limited to 107 bytes.
        short = "/tmp" if os.path.isdir("/tmp") else None
        self.path = tempfile.mkdtemp(prefix="absa-", dir=short)
        self._cleaner = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CLEANER, MARK, self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Out of reach of a Ctrl-C, which a terminal sends to the whole process group.
            start_new_session=True,
        )
        self._kept = False

    @property
    def environment(self) -> dict[str, str]:
        """Marks the session's processes."""
        return {MARK: self.path}

    @property
    def logs(self) -> str:
        """Where Ray writes its logs."""
        return os.path.join(self.path, "session_latest", "logs")

    def keep(self) -> None:
        """Leave the folder for somebody to look into."""
        self._kept = True

    def close(self) -> None:
        """Remove the folder, unless it is kept."""
        self._cleaner.communicate(b"keep" if self._kept else b"done")
