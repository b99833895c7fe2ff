"""What should become of the worker processes, as the coordinator's host wants it."""

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.elastic.protocol.messages import WorkerId


@dataclass(frozen=True)
class Orders:
    """How things should be; read as a whole each time, so that a lost answer does no harm.

    A label is what a worker calls itself when it dials in: in Ray the id of its actor, as hex.

    Args:
        missing: Workers asked for whose process has not dialled in yet.
        workers: Label -> id of every worker that has dialled in and is not known to have ended.
        end: Labels of processes that must be ended, whatever they are doing.
        members: Labels of the members of the newest generation that trains, in the order of ranks;
            () before the first.
        generation: Its number; -1 before the first.
    """

    missing: int
    workers: Mapping[str, WorkerId]
    end: frozenset[str]
    members: tuple[str, ...]
    generation: int
