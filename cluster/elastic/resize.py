"""What a resize cost, and what changed by it, for the journal."""

import contextlib
import time
from collections.abc import Iterator

from absa.events import Record
from cluster.elastic.messages import Announcement


class Stopwatch:
    """Measures how long a worker does not train, by phase."""

    def __init__(self) -> None:
        self._phases: dict[str, float] = {}
        self._trained_s = time.monotonic()
        self.broken = False

    def trained(self) -> None:
        """Note the end of an update; costs no more than a reading of the clock."""
        self._trained_s = time.monotonic()

    def lost(self) -> None:
        """Note that a generation broke."""
        self.broken = True

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
        self._phases, self.broken = {}, False
        return seconds, phases


def describe_resize(before: Announcement, after: Announcement, watch: Stopwatch) -> Record:
    """Return what the journal says of a change of the group; the watch begins anew."""
    joined = len(set(after.members) - set(before.members))
    gone = len(set(before.members) - set(after.members))
    lost = gone if watch.broken else 0
    causes = {"joined": joined, "left": gone - lost, "lost": lost}
    reason = ", ".join(f"{number} {what}" for what, number in causes.items() if number)
    seconds, phases = watch.read()
    return {
        "before": len(before.members),
        "after": len(after.members),
        **causes,
        "reason": reason or "the group was formed anew",
        "seconds": seconds,
        "phases": phases,
    }
