"""What a resize cost, and what changed by it, for the journal."""

import contextlib
import time
from collections.abc import Iterator

from absa.events import Record
from cluster.elastic.protocol.messages import Announcement


class Stopwatch:
    """Measures how long a worker does not train, by phase."""

    def __init__(self) -> None:
        self._phases: dict[str, float] = {}
        self._trained_s = time.monotonic()

    def trained(self) -> None:
        """Note the end of an update; costs no more than a reading of the clock."""
        self._trained_s = time.monotonic()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a part of the stall; attempts that fail count as well."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            spent_s = time.monotonic() - began_s
            self._phases[name] = self._phases.get(name, 0.0) + spent_s

    def read(self) -> tuple[float, dict[str, float]]:
        """Return the seconds since the last update and their parts, and begin anew."""
        seconds = time.monotonic() - self._trained_s
        phases = {**self._phases, "waiting": max(seconds - sum(self._phases.values()), 0.0)}
        self._phases = {}
        return seconds, phases


def describe_change(before: Announcement, after: Announcement, *, lost: bool) -> Record:
    """Return how a group differs from the one that trained before it.

    Args:
        before: The one before.
        after: The one that trains now.
        lost: Whether one broke in between: then who is missing has not left as planned.
    """
    joined = len(set(after.members) - set(before.members))
    gone = len(set(before.members) - set(after.members))
    num_lost = gone if lost else 0
    changes = {"joined": joined, "left": gone - num_lost, "lost": num_lost}
    reason = ", ".join(f"{number} {what}" for what, number in changes.items() if number)
    return {
        "before": len(before.members),
        "after": len(after.members),
        **changes,
        "reason": reason or "the group was formed anew",
    }
