"""Keeps out what a worker writes that was replaced without knowing it."""


class Fence:
    """Admits whoever writes in the newest generation seen, or in a newer one."""

    def __init__(self) -> None:
        self._newest = (-1, -1)

    def admits(self, lineage: int, generation: int) -> bool:
        """Return whether rank 0 of a generation may still write.

        What it writes may be of an older one: a checkpoint takes longer than a resize. What counts
        is where the writer is now.
        """
        number = (lineage, generation)
        if number < self._newest:
            return False
        self._newest = number
        return True
