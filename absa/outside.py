"""What the training loop is connected to."""

from dataclasses import dataclass
from typing import Protocol

from absa.boundary import Boundary
from absa.collective import Collective
from absa.events import Record
from absa.state import StateTree


class Saver(Protocol):
    """Writes checkpoints; called on every rank at the same boundary."""

    def save(self, tree: StateTree, about: Record) -> None:
        """Copy ``tree`` and write it in the background.

        ``about`` has the stamp of a journal record, ``metrics`` (of an evaluation at this point, or
        None), ``best_metric`` (the number by which those are compared, or None), ``best`` (whether
        they are the best so far) and ``why``: "due", "best", "command" or "end".
        """
        ...

    def finish(self, about: Record) -> str | None:
        """Wait until all is written; return the name of the last checkpoint."""
        ...


@dataclass(frozen=True)
class Outside:
    """What the loop is connected to.

    Args:
        collective: The ranks.
        boundary: Journal and commands; used on rank 0 only.
        saver: Checkpoints.
        lineage: Number of this unbroken history of weights.
        generation: Number of this membership of the group.
    """

    collective: Collective
    boundary: Boundary
    saver: Saver
    lineage: int = 0
    generation: int = 0
