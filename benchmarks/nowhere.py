"""What a loop is connected to where nothing is to be kept but what it says."""

from absa.boundary import Command
from absa.events import Record
from absa.state import StateTree


class Nowhere:
    """A boundary and a saver that keep nothing."""

    def record(self, record: Record) -> None:
        """Drop it."""

    def waiting(self) -> bool:
        """Nothing waits."""
        return False

    def take(self) -> Command:
        """Nothing waits."""
        raise LookupError

    def save(self, tree: StateTree, about: Record) -> None:
        """Drop it."""

    def finish(self, about: Record) -> str | None:
        """Nothing was saved."""
        return None


class Kept(Nowhere):
    """Keeps records and nothing else."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def record(self, record: Record) -> None:
        """Keep it."""
        self.records.append(record)
