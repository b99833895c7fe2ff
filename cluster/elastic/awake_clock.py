"""A clock that stands still while its process does."""

import time
from collections.abc import Callable

LONGEST_S = 1.0
"""Between two readings; a longer gap is time in which the process did not run."""


class AwakeClock:
    """Tells how long this process has been awake; it must be read more often than ``LONGEST_S``.

    What others said while the process was stopped, or its machine was, is still unread when it goes
    on: by any other clock it would believe them silent, and give all of them up.

    Args:
        read: Seconds from any origin; None: the system's monotonic clock.
    """

    def __init__(self, read: Callable[[], float] | None = None) -> None:
        self._read = read or time.monotonic
        self._last_s = self._read()
        self._asleep_s = 0.0

    def now_s(self) -> float:
        """Return seconds from any origin; never less than before."""
        now_s = self._read()
        self._asleep_s += max(now_s - self._last_s - LONGEST_S, 0.0)
        self._last_s = now_s
        return now_s - self._asleep_s
