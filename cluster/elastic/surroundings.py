"""What a worker process finds around itself."""

from dataclasses import dataclass
from typing import Protocol

from absa.boundary import Boundary
from absa.outside import Saver


@dataclass(frozen=True)
class Place:
    """A worker's place in a generation.

    Args:
        lineage: Of the run.
        generation: Its number.
        rank: In ``[0, world_size)``.
        nodes: The node of each rank.
    """

    lineage: int
    generation: int
    rank: int
    nodes: tuple[str, ...]


class Surroundings(Protocol):
    """What a worker finds around itself: Ray Train, or nothing but other processes."""

    node: str
    """Where this process runs."""

    def enter(self, place: Place) -> tuple[Boundary, Saver]:
        """Take a place in a new generation; return what the loop talks to from now on."""
        ...

    def flush(self) -> None:
        """Return once everything that was recorded has arrived."""
        ...
