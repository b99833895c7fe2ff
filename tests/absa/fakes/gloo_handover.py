"""What real processes hand to one another by gloo, for `test_handover_gloo.py`."""

import multiprocessing
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from engine import Classify, Points, make_replica, normed_network, run_updates
from states import assorted

from absa.collective import ProcessGroup
from absa.handover.hand_over import hand_over
from absa.handover.parcels import Sizes
from absa.handover.run import agree_on_run
from absa.handover.stake import Stake
from absa.handover.wire import Wire
from absa.progress import Progress
from absa.run_state import RunState, gather
from absa.settings import Settings
from absa.state import StateTree, clone_to_host
from absa.update.replica import Replica

NUM_PROCESSES = 3
OPTIMIZERS = ("sgd", "adamw", "lars")
STEPS = ("one joins", "a third joins", "one was behind")
SIZES = {
    "tiny": Sizes(large_bytes=1000, piece_bytes=700, bucket_bytes=300, in_flight=3),
    "usual": Sizes(),
}
UPDATE = [Settings(6, 2)]


def run_all(folder: str) -> None:
    """Run everything in one set of processes; each leaves what it found in ``<rank>.pt``."""
    multiprocessing.set_forkserver_preload(["gloo_handover"])
    mp.start_processes(_process, (folder,), NUM_PROCESSES, start_method="forkserver")


def _process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=NUM_PROCESSES
    )
    pair, everybody = dist.new_group([1, 2]), ProcessGroup(dist.new_group())
    two = ProcessGroup(pair) if rank else None
    found: dict[Any, Any] = {name: _grow(rank, name, two, everybody) for name in OPTIMIZERS}
    for name, sizes in SIZES.items():
        found[name] = _tree(Wire(everybody, sizes=sizes))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _grow(
    rank: int, optimizer: str, two: ProcessGroup | None, everybody: ProcessGroup
) -> dict[str, Any]:
    """Grow from process 2 alone to all; after each step all make an update."""
    replica = make_replica(Classify(Points(24), normed_network), optimizer, bn_group=2)
    state: RunState | None = None
    if rank == 2:
        run_updates(replica, UPDATE * 3)
        state = RunState(Progress(samples=18, updates=3), UPDATE[0])
    elif rank == 0:
        _warm_up(replica)
    else:
        _spoil(replica)
    found: dict[str, Any] = {"before": None if state is None else _kept(replica, state)}
    if two is not None:
        state = _hand_over(replica, state, Wire(two), source=1, current=rank == 2)
        found[STEPS[0]] = _with_update(replica, state, two)
    state = _hand_over(replica, state, Wire(everybody), source=2, current=rank > 0)
    found[STEPS[1]] = _with_update(replica, state, everybody)
    if rank != 1:
        run_updates(replica, UPDATE)
        state = RunState(Progress(samples=99), UPDATE[0])
    state = _hand_over(replica, state, Wire(everybody), source=2, current=rank != 1)
    found[STEPS[2]] = _with_update(replica, state, everybody)
    return found


def _hand_over(replica: Replica, state: RunState | None, wire: Wire, **rest: Any) -> RunState:
    held = None if state is None else gather(replica, state)
    agreed = agree_on_run(replica, held, wire, **rest)
    agreed.finish()
    return agreed.state


def _warm_up(replica: Replica) -> None:
    """Do as a newcomer does before it joins: its optimizer then has a state."""
    run_updates(replica, UPDATE * 2, lr=3.0)


def _spoil(replica: Replica) -> None:
    with torch.no_grad():
        for tensor in replica.model.state_dict().values():
            tensor.fill_(float("nan") if tensor.is_floating_point() else -1)


def _with_update(replica: Replica, state: RunState, collective: ProcessGroup) -> dict[str, Any]:
    """Return what a rank has, and what it has one update later."""
    before = _kept(replica, state)
    run_updates(replica, UPDATE, collective)
    return {"handed over": before, "an update later": _kept(replica, state)}


def _kept(replica: Replica, state: RunState) -> StateTree:
    return clone_to_host(gather(replica, state))


def _tree(wire: Wire) -> StateTree:
    """Hand over all kinds at once: rank 1 is the source, 0 is new, 2 is behind."""
    rank = wire.rank
    kinds = {"iterate": "per_rank", "seen": "per_position"}
    positions = torch.arange(rank * 10, rank * 10 + 10)
    mine = {
        "iterate/w": torch.full((500,), float(rank)),
        "seen/positions": positions,
        "seen/loss": positions.double() / 3,
    }
    model = assorted(1 if rank == 1 else 2)
    held = StateTree({**model.tensors, **mine}, {**model.values, "iterate": rank}, kinds)
    stake = Stake() if rank == 0 else Stake(held, current=rank == 1)
    return clone_to_host(hand_over(stake, wire, 1, owner=lambda positions: positions % 3))
