"""What a process group has under way: whoever waits for it can look up in between.

Each kind of torch's work takes a wait that runs out of time differently.
"""

import threading
import time
from datetime import timedelta
from typing import Any, Protocol

import torch

_POLL_S = 5e-5
"""Of a device; a tenth of a small update."""


class UnderWay(Protocol):
    """A sum, a broadcast or a message that has begun."""

    @property
    def is_busy(self) -> bool:
        """Whether it has neither ended nor failed."""
        ...

    def has_ended(self, within_s: float) -> bool:
        """Wait for a moment; return whether it has ended.

        Raises:
            RuntimeError: It failed.
        """
        ...


class OnHost:
    """A sum or a broadcast of gloo, which goes on when a wait for it runs out of time."""

    def __init__(self, work: Any) -> None:
        self._work = work

    @property
    def is_busy(self) -> bool:
        """Whether it has neither ended nor failed."""
        return not self._work.is_completed()

    def has_ended(self, within_s: float) -> bool:
        """Wait for a moment; return whether it has ended.

        Raises:
            RuntimeError: It failed.
        """
        try:
            self._work.wait(timedelta(seconds=within_s))
        except RuntimeError:
            if self.is_busy:
                return False
            self._work.wait()  # it ended after the time had run out, well or with its own error
        return True


class Message(threading.Thread):
    """A message of gloo to or from one rank.

    When a wait for one runs out of time, gloo closes all connections of the group. So a thread
    waits, for as long as it takes.
    """

    def __init__(self, work: Any) -> None:
        super().__init__(name="message", daemon=True)
        self._work = work
        # As text: an error holds what was under way when it was raised, and that its connections.
        self._error: str | None = None
        self.start()

    def run(self) -> None:
        """Wait for the end."""
        try:
            self._work.wait()
        except RuntimeError as error:
            self._error = str(error)

    @property
    def is_busy(self) -> bool:
        """Whether it has neither ended nor failed."""
        return self.is_alive()

    def has_ended(self, within_s: float) -> bool:
        """Wait for a moment; return whether it has ended.

        Raises:
            RuntimeError: It failed.
        """
        self.join(within_s)
        if self._error is not None:
            raise RuntimeError(self._error)
        return not self.is_alive()


class OnDevice:
    """Anything of NCCL; the device does it, after what it was given before.

    The host waits as well: it must not prepare an update from a sum that a lost peer leaves
    unfinished, nor be caught in a wait for the device that ends with that sum.
    """

    def __init__(self, work: Any) -> None:
        self._work = work
        self._passed: torch.cuda.Event | None = None

    @property
    def is_busy(self) -> bool:
        """Whether it has neither ended nor failed."""
        if self._passed is None:
            return not self._work.is_completed()
        return not self._passed.query()

    def has_ended(self, within_s: float) -> bool:
        """Wait for a moment; return whether it has ended.

        Raises:
            RuntimeError: It failed.
        """
        if self._passed is None:
            self._work.wait()  # the device waits, not the host
            self._passed = torch.cuda.Event()
            self._passed.record()
        until_s = time.monotonic() + within_s
        while not self._passed.query():
            if time.monotonic() >= until_s:
                return False
            time.sleep(_POLL_S)
        return True
