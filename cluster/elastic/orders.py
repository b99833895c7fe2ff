"""What the coordinator wants done with processes."""

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.elastic.messages import WorkerId


@dataclass(frozen=True)
class Orders:
    """All that is wanted now, never what has changed: an answer that is lost does no harm.

    Args:
        missing: Workers that were asked for and whose process has not dialled in yet.
        workers: The id of every worker that has dialled in and is not known to have ended, by the
            label of its process.
        end: Labels of processes that must be ended, whatever they are doing.
        members: Labels of the newest generation that trains, in the order of ranks; empty before
            the first.
        generation: Its number; -1 before the first.
    """

    missing: int
    workers: Mapping[str, WorkerId]
    end: frozenset[str]
    members: tuple[str, ...]
    generation: int
