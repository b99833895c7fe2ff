"""Worker processes of a group in Ray: which to start, which to end, what is left of the group.

Only what to do; how it is done to a process is Ray Train's business.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cluster.elastic.orders import Orders

if TYPE_CHECKING:
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
        about: Answers to come: its metadata and the path of its log. None if they are known.
        poll: The pending question how it is, while it is not a member.
        fate: What has become of it, as far as it is known.
        has_dialled: It has dialled in to the controller at least once.
        was_ended: We have ended it.
    """

    worker: Any
    place: "Place"
    about: tuple[Any, Any] | None = None
    poll: Any = None
    fate: Fate = "runs"
    has_dialled: bool = False
    was_ended: bool = False


@dataclass(frozen=True)
class Plan:
    """What to do now, in this order.

    Args:
        end: Labels of the processes to end.
        start: How many processes to start.
    """

    end: frozenset[str]
    start: int


def plan(orders: Orders, processes: Mapping[str, Process], members: Collection[str]) -> Plan:
    """Return what to do so that there will be as many processes as are wanted.

    Ended are: those that the orders name; those that were lost, for what they held; those that
    are no members and have nothing more to do; and, if more come than are wanted, the newest that
    have not dialled in. Members whose function has returned stay as they are until the others have
    come so far: Ray Train wants to see it.

    Args:
        orders: What the coordinator wants.
        processes: All by label, in the order in which they were started.
        members: Labels of those that Ray Train knows as the worker group.
    """
    end = {
        label
        for label, process in processes.items()
        if label in orders.end
        or process.fate == "lost"
        or (process.fate != "runs" and label not in members)
    }
    coming = [
        label
        for label, process in processes.items()
        if label not in end and process.fate == "runs" and not process.was_ended
        if not process.has_dialled and label not in orders.workers
    ]
    surplus = max(len(coming) - orders.missing, 0)
    end |= set([label for label in reversed(coming) if label not in members][:surplus])
    # When no member runs the group has come to its end, a good one or a bad one.
    goes_on = any(processes[label].fate == "runs" for label in members)
    start = max(orders.missing - len(coming), 0) if goes_on else 0
    return Plan(frozenset(label for label in end if not processes[label].was_ended), start)


def places_in_use(orders: Orders, processes: Mapping[str, Process]) -> "list[Place]":
    """Return the places of all processes but those that have ended or are about to."""
    return [
        process.place
        for label, process in processes.items()
        if not process.was_ended and not (process.has_dialled and label not in orders.workers)
    ]


def goes_on(fates: Collection[Fate]) -> bool:
    """Whether what has become of some members is nothing that the others cannot make good."""
    return "runs" in fates and "raised" not in fates


def is_deserted(fates: Collection[Fate]) -> bool:
    """Whether all members have left, and nobody has ended the run."""
    return set(fates) == {"left"}
