"""Keeps out what a worker writes that was replaced without knowing it."""

from absa.events import Record


class Fence:
    """Admits records of the newest generation seen, and of newer ones."""

    def __init__(self) -> None:
        self._newest = (-1, -1)
        self._ended = False

    def admits(self, record: Record) -> bool:
        """Return whether a record belongs to the run.

        Args:
            record: With ``lineage`` and ``generation``.
        """
        number = (record["lineage"], record["generation"])
        if number < self._newest:
            return False
        self._newest = number
        if record["event"] == "run_ended":
            # Whoever takes the place of a rank 0 that was lost at the end says it again.
            first, self._ended = not self._ended, True
            return first
        return True
