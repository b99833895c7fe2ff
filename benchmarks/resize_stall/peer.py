"""The peer: Ray Train's own elastic restart, on a Ray of its own on this machine."""

import os
import sys
import tempfile
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.resize_stall.cases import CPUS_PER_WORKER, Change, Script, Size
from benchmarks.resize_stall.stall import UPDATES, Stall, lost_worker_s, normal_update_s
from benchmarks.resize_stall.trace import UPDATE, Marks, only, read_marks
from benchmarks.resize_stall.wish import Wish, write_wish
from cluster.own_ray import environment, own_ray, own_settings
from cluster.side_thread import SideThread

NAME = "Ray Train restart"

FASTEST = {
    # How often the controller looks at the policy and at its workers; the default is 2 s.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.05",
    # Less to start and to do: metrics, structured logs, the watchers of nodes and of runs.
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "OMP_NUM_THREADS": "1",
}
"""Ray Train's public settings as they make a restart fastest. `own_settings` adds a niceness of 0
for its workers and turns off the watcher of preemptions."""


def peer(script: Script) -> list[Stall]:
    """Run a script on Ray Train and return its stalls, in the order of its changes."""
    with tempfile.TemporaryDirectory(prefix="stall-") as name:
        folder = Path(name)
        paths = filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")])
        settings = {**own_settings(), **FASTEST, "PYTHONPATH": os.pathsep.join(paths)}
        # Ray tells of killed workers on the standard output, which is the table's.
        with redirect_stdout(sys.stderr), environment(settings), own_ray():
            _run(script, folder)
        return peer_stalls(script, read_marks(folder))


def _run(script: Script, folder: Path) -> None:
    write_wish(folder, Wish(0, script.changes[0].before))
    # In a thread: Ray's own handler of Ctrl-C, which the main thread would get, ends the process
    # without closing anything.
    fit = SideThread("peer", _trainer(script, folder).fit)
    while fit.is_alive():
        fit.join(0.2)
    fit.finish()


def _trainer(script: Script, folder: Path) -> Any:
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig

    from benchmarks.resize_stall.peer_policy import WishTrainer
    from benchmarks.resize_stall.peer_worker import PeerRun, train_peer

    return WishTrainer(
        train_peer,
        train_loop_config={"run": PeerRun(script, folder, UPDATES)},
        scaling_config=ScalingConfig(
            num_workers=script.changes[0].before, resources_per_worker={"CPU": CPUS_PER_WORKER}
        ),
        torch_config=TorchConfig(backend="gloo", timeout_s=60),
        run_config=RunConfig(
            name="peer",
            storage_path=str(folder / "storage"),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(
                max_failures=sum(change.victim is not None for change in script.changes)
            ),
        ),
        folder=folder,
    )


def peer_stalls(script: Script, found: list[Marks]) -> list[Stall]:
    """Return the stalls of a run from the marks of all its processes.

    Raises:
        LookupError: The run ended before its script did.
    """
    groups = [
        only(found, lambda each, step=step: each.has(f"restored {step}"))  # type: ignore[misc]
        for step in range(len(script.changes) + 1)
    ]
    (controller,) = only(found, lambda each: each.role == "controller")
    return [
        _stall(script.size, change, step, before, after, controller)
        for step, (change, (before, after)) in enumerate(
            zip(script.changes, pairwise(groups), strict=True), start=1
        )
    ]


def _stall(
    size: Size,
    change: Change,
    step: int,
    before: list[Marks],
    after: list[Marks],
    controller: Marks,
) -> Stall:
    """Take one change apart; ``asked`` stands for the last update: none was made after it."""
    (asker,) = only(before, lambda each: each.has(f"asked {step}"))
    normal_s = max(normal_update_s(each.times(UPDATE)) for each in after)
    points = {
        "": asker.first(f"asked {step}"),
        "notice": controller.first(f"decided {step}"),
        "end + place": max(each.first("born") for each in after),
        "import + group": max(each.first("entered") for each in after),
        "build + restore": max(each.first(f"restored {step}") for each in after),
        "first update": max(each.first(UPDATE) for each in after) - normal_s,
    }
    phases = {name: end - begin for (_, begin), (name, end) in pairwise(points.items())}
    seconds = sum(phases.values())
    youngest = sorted((each.first("born") for each in after), reverse=True)
    newcomers = youngest[: max(change.after - change.before, 0)]
    end_s = points["first update"]
    lost = lost_worker_s(change, seconds, [end_s - max(born, points[""]) for born in newcomers])
    return Stall(size, change, seconds, normal_s, phases, lost)
