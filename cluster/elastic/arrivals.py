"""Worker processes of a group in Ray: which to start, which to give up, what is left of the group.

Plain bookkeeping: what must be done to a process is Ray Train's business.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cluster.elastic.orders import Orders
from cluster.elastic.places import Place

LEFT = "left"
"""What a training function returns when its worker has left the group and the run goes on.

Whatever else it returns means that the run has ended. Only the worker knows which it is: to
everybody else both are a process that is no longer needed.
"""

Fate = Literal["runs", "lost", "raised", "left", "done"]
"""What has become of a worker: it runs, or was lost, or its function raised or returned."""


@dataclass(eq=False)
class Process:
    """A process of ours, a member of the group or not.

    Args:
        worker: Ray Train's record of it; a newcomer's has no metadata before it is a member.
        place: Where it runs.
        about: Its metadata and the path of its log, as soon as it has come up; None for those that
            the group started with.
        poll: The pending question how it is, while it is not a member.
        has_dialled: It has dialled in to the controller at least once.
        is_over: It has ended, or was ended.
    """

    worker: Any
    place: Place
    about: tuple[Any, Any] | None = None
    poll: Any = None
    has_dialled: bool = False
    is_over: bool = False


def note_dialled(orders: Orders, processes: Mapping[str, Process]) -> None:
    """Remember who has dialled in."""
    for label in orders.workers:
        if label in processes:
            processes[label].has_dialled = True


def num_needed(orders: Orders, processes: Iterable[Process]) -> int:
    """Return how many processes to start; if negative, how many to give up."""
    return orders.missing - sum(_is_coming(process) for process in processes)


def given_up(
    number: int, processes: Mapping[str, Process], members: Collection[str]
) -> list[Process]:
    """Choose processes that are not wanted any more: the newest that have not dialled in.

    Args:
        number: How many.
        processes: All, in the order in which they were started.
        members: Those that Ray Train knows; they are not given up.
    """
    coming = [p for label, p in processes.items() if _is_coming(p) and label not in members]
    return coming[::-1][:number]


def places_in_use(orders: Orders, processes: Mapping[str, Process]) -> list[Place]:
    """Return the places of all processes but those that have ended or are about to."""
    return [
        process.place
        for label, process in processes.items()
        if not process.is_over and not (process.has_dialled and label not in orders.workers)
    ]


def goes_on(fates: Collection[Fate]) -> bool:
    """Whether what has become of some members is nothing that the others cannot make good."""
    return "runs" in fates and "raised" not in fates


def is_deserted(fates: Collection[Fate]) -> bool:
    """Whether all members have left, and nobody has ended the run."""
    return set(fates) == {"left"}


def _is_coming(process: Process) -> bool:
    return not process.is_over and not process.has_dialled
