"""What the coordinator and the members of a worker group say to one another.

Both sides say how things stand, never what has just changed: a message that is lost, doubled or
late is made good by the next one.
"""

from dataclasses import dataclass
from typing import Literal

WorkerId = int
"""Never used again after a worker has ended."""

Phase = Literal["warming", "ready", "forming", "training", "waiting", "gone"]
"""What a member is doing.

warming: a newcomer starts up; ready: it waits to be announced; forming: it makes the process group
of a generation and the state is handed over; training: it makes updates; waiting: its generation
has ended and it waits for the next announcement; gone: it ends.
"""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A generation: who is in it from now on.

    Args:
        generation: Counts up over the whole run; never used for two announcements.
        lineage: The history of weights that it belongs to.
        members: The workers, in the order of their ranks.
        restores: The members load the newest checkpoint (or begin anew): nobody has the state.
        breaks: The generation before is beyond repair: whoever still waits in one of its
            collectives must give up. Otherwise it goes on to its next boundary.
    """

    generation: int
    lineage: int
    members: tuple[WorkerId, ...]
    restores: bool
    breaks: bool


@dataclass(frozen=True, slots=True)
class Status:
    """How a member stands, sent at every change and in between to keep its lease.

    Args:
        worker: Who.
        sequence: Counts its statuses; an older one that comes late is ignored.
        sent_s: Its clock when it was sent; comes back in the reply.
        phase: What it is doing.
        generation: The newest generation that it has begun to form; -1 before the first.
        lineage: The lineage of the state it has, or None without state.
        update: Updates applied to that state.
        progress: Counts whatever its main thread gets done: parts of an update, batches of an
            evaluation, pieces of a checkpoint or of a state that is handed over. One that stands
            still for long hangs, unless it waits.
        waits: Whether its main thread waits for its peers, in a collective of that generation.
            If all wait and nobody's progress moves, the collective hangs.
        blames: Whom it failed to reach in that generation, as far as it can tell.
    """

    worker: WorkerId
    sequence: int
    sent_s: float
    phase: Phase
    generation: int
    lineage: int | None
    update: int
    progress: int = 0
    waits: bool = False
    blames: WorkerId | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The coordinator's answer to a status.

    Args:
        sent_s: Of that status: the member's lease counts from there.
        announcement: The newest one, or None before the first.
        dismissed: The worker is not wanted, or was taken for dead: it must end.
    """

    sent_s: float
    announcement: Announcement | None
    dismissed: bool
