"""Strikes workers out, and keeps what the group must know of that."""

from dataclasses import replace

from cluster.elastic.protocol.knowledge import Action, Coordinator, Kill, Note, Step
from cluster.elastic.protocol.messages import WorkerId
from cluster.elastic.protocol.questions import all_train, is_leaving, is_newcomer


def kill(state: Coordinator, workers: list[WorkerId], why: str) -> Step:
    """End workers that are lost to the group."""
    actions: list[Action] = []
    for worker in workers:
        state = lose(state, worker)
        actions += [Note(f"worker {worker} {why}: it is ended"), Kill(worker)]
    return state, tuple(actions)


def lose(state: Coordinator, worker: WorkerId) -> Coordinator:
    """Strike out a worker that has not left by itself."""
    if is_newcomer(state, worker):
        state = replace(state, num_lost=state.num_lost + 1)
    elif not is_leaving(state, worker):
        state = replace(state, num_broken=0)
    elif not all_train(state):
        state = replace(state, lost_leaver=True)
    return strike_out(state, worker)


def strike_out(state: Coordinator, worker: WorkerId) -> Coordinator:
    """Forget a worker; what it still says is late."""
    workers = {id_: known for id_, known in state.workers.items() if id_ != worker}
    return replace(state, workers=workers, ended=state.ended | {worker})


def give_up(state: Coordinator, now_s: float) -> Coordinator:
    """Do without those who are missing for a while, longer each time."""
    wait_s = state.limits.retry_s * 2 ** min(state.num_setbacks, 4)
    return replace(state, retry_s=now_s + wait_s, num_setbacks=state.num_setbacks + 1)
