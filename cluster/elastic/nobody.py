"""What ranks other than 0 talk to: nobody."""

from absa.boundary import Command
from absa.events import Record
from absa.state import StateTree


class NoBoundary:
    """Neither records nor asks: rank 0 does."""

    def record(self, record: Record) -> None:
        """Drop it: rank 0 records the same."""

    def waiting(self) -> bool:
        """Nothing ever waits here."""
        return False

    def take(self) -> Command:
        """Fail: nothing waits here."""
        raise LookupError("a rank other than 0 has no commands of its own")


class NoSaver:
    """Saves nothing: rank 0 has the same state."""

    def save(self, tree: StateTree, about: Record) -> None:
        """Do nothing."""

    def finish(self, about: Record) -> str | None:
        """Return at once."""
        return None
