"""Questions about what the coordinator knows: who is a member, who is new, who has the state."""

from cluster.elastic.protocol.knowledge import Coordinator, Worker
from cluster.elastic.protocol.messages import Status, WorkerId


def status_of(state: Coordinator, worker: WorkerId) -> Status | None:
    """Return the newest status of a worker, or None if it has said nothing or is lost."""
    known = state.workers.get(worker)
    return None if known is None else known.status


def living_members(state: Coordinator) -> list[WorkerId]:
    """Return the members of the newest generation that live, in the order of their ranks."""
    members = () if state.announcement is None else state.announcement.members
    return [id_ for id_ in members if id_ in state.workers]


def members_are_known(state: Coordinator) -> bool:
    """Return whether every living member has said how it stands.

    After a restart they have yet to: to go on without their words would be to throw away the state
    that they have. Who stays silent is ended.
    """
    return all(status_of(state, id_) is not None for id_ in living_members(state))


def all_train(state: Coordinator) -> bool:
    """Return whether all members of the newest generation train in it."""
    newest = state.announcement
    if newest is None:
        return False
    for id_ in newest.members:
        status = status_of(state, id_)
        if status is None or status.phase != "training" or status.generation != newest.generation:
            return False
    return True


def is_newcomer(state: Coordinator, worker: WorkerId) -> bool:
    """Return whether a worker has been in no generation yet."""
    status = status_of(state, worker)
    if status is not None and status.generation >= 0:
        return False
    return state.announcement is None or worker not in state.announcement.members


def is_leaving(state: Coordinator, worker: WorkerId) -> bool:
    """Return whether a worker was in a generation and is not in the newest."""
    newest, status = state.announcement, status_of(state, worker)
    if newest is None or status is None or status.generation < 0:
        return False
    return worker not in newest.members


def is_ready(worker: Worker) -> bool:
    """Return whether a newcomer waits to be announced."""
    return worker.status is not None and worker.status.phase == "ready"


def newcomers(state: Coordinator) -> list[WorkerId]:
    """Return the workers that have been in no generation, those that are ready first."""
    found = [id_ for id_ in state.workers if is_newcomer(state, id_)]
    return sorted(found, key=lambda id_: not is_ready(state.workers[id_]))


def ready_newcomers(state: Coordinator) -> list[WorkerId]:
    """Return the newcomers that wait to be announced."""
    return [id_ for id_, w in state.workers.items() if is_ready(w) and is_newcomer(state, id_)]


def has_state(state: Coordinator, worker: WorkerId) -> bool:
    """Return whether a worker has state of the newest lineage."""
    status, newest = status_of(state, worker), state.announcement
    return status is not None and newest is not None and status.lineage == newest.lineage


def num_updates(state: Coordinator, worker: WorkerId) -> int:
    """Return the updates in a worker's state, or -1 if it has none of the newest lineage."""
    status = status_of(state, worker)
    return status.update if status is not None and has_state(state, worker) else -1
