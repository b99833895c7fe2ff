"""A worker group in Ray Train: a test writes its orders and tells its workers what to do."""

import asyncio
import contextlib
import json
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import ray
import ray.train
import ray.train.torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.util.placement_group import placement_group_table

from cluster.elastic.orders import Orders
from cluster.elastic.places import release_placement_groups
from cluster.elastic.ranks import ranks
from cluster.elastic.raytrain import InPlaceTrainer, set_context
from cluster.ray_saver import POINTER_FILE
from cluster.side_thread import SideThread

PATIENCE_S = 120
NOTHING = Orders(missing=0, workers={}, end=frozenset(), members=(), generation=-1)


class Table:
    """The actor in the controller's place: it answers what is written on it."""

    def __init__(self) -> None:
        self.orders_now = NOTHING
        self.records: list[dict[str, Any]] = []
        self.facts: dict[str, dict[str, Any]] = {}
        self.hung_up: set[str] = set()
        self.lost: set[str] = set()
        self.num_polls = 0
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.tasks: dict[str, asyncio.Queue[tuple[str, Any]]] = defaultdict(asyncio.Queue)

    async def orders(self, lost: tuple[str, ...]) -> Orders:
        self.lost |= set(lost)
        self.num_polls += 1
        await self.is_open.wait()
        return replace(self.orders_now, workers=dict.fromkeys(self._living(), 0))

    async def checkpoints(self, cursor: int) -> list[dict[str, Any]]:
        return self.records[cursor:]

    async def say(self, label: str, facts: dict[str, Any]) -> None:
        """A worker dials in, or says what it sees now."""
        if label not in self.facts:
            missing = max(self.orders_now.missing - 1, 0)
            self.orders_now = replace(self.orders_now, missing=missing)
        self.facts[label] = facts

    async def hang_up(self, label: str) -> None:
        self.hung_up.add(label)

    async def next_task(self, label: str) -> tuple[str, Any]:
        return await self.tasks[label].get()

    async def write(self, **changes: Any) -> int:
        self.orders_now = replace(self.orders_now, **changes)
        return self.num_polls

    async def stall(self, yes: bool) -> None:
        """Leave all questions unanswered, or answer them again."""
        self.is_open.clear() if yes else self.is_open.set()

    async def tell(self, label: str, what: str, value: Any) -> None:
        self.tasks[label].put_nowait((what, value))

    async def checkpoint(self, **record: Any) -> None:
        self.records.append(record)

    async def read(self) -> dict[str, Any]:
        living = {label: self.facts[label] for label in self._living()}
        return {"living": living, "lost": set(self.lost), "num_polls": self.num_polls}

    def _living(self) -> list[str]:
        return [each for each in self.facts if each not in self.hung_up | self.lost]


def work(config: dict[str, Any]) -> Any:
    """Dial in, then do what the test says."""
    table, label = config["table"], ray.get_runtime_context().get_actor_id()
    while True:
        ray.get(table.say.remote(label, _facts()))
        what, value = ray.get(table.next_task.remote(label))
        if what == "join":
            set_context(**value)
        elif what == "raise":
            raise RuntimeError(value)
        else:
            ray.get(table.hang_up.remote(label))
            return value


def _facts() -> dict[str, Any]:
    context = ray.train.get_context()
    return {
        "pid": os.getpid(),
        "context": (
            context.get_world_rank(),
            context.get_world_size(),
            context.get_local_rank(),
            context.get_local_world_size(),
            context.get_node_rank(),
        ),
        "variables": tuple(
            int(os.environ[name])
            for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK")
        ),
        "device": str(ray.train.torch.get_device()),
        "logged": _logged_rank(),
        "checkpoint": ray.train.get_checkpoint() is not None,
    }


def _logged_rank() -> int:
    """Return the rank under which Ray Train would log something now."""
    record = logging.LogRecord("ray.train", logging.INFO, "", 0, "", (), None)
    for handler in logging.getLogger("ray.train").handlers:
        handler.filter(record)
    return record.world_rank


def room() -> list[dict[str, Any]]:
    """Return the placement groups that hold anything, or want to."""
    return [each for each in placement_group_table().values() if each["state"] != "REMOVED"]


def until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came to pass"
        threading.Event().wait(0.02)


@contextlib.contextmanager
def filled(*, keep: float) -> Iterator[None]:
    """Hold all CPUs for the duration of a ``with`` block but those that are in use."""
    group = ray.util.placement_group([{"CPU": os.cpu_count() - keep}])
    assert group.wait(PATIENCE_S)
    yield
    ray.util.remove_placement_group(group)


def train_controllers() -> list[psutil.Process]:
    """Return the processes in which Ray Train runs its controllers."""
    processes = psutil.Process().children(recursive=True)
    return [each for each in processes if "_TrainController" in _command(each)]


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):  # it ends while we look
        return " ".join(process.cmdline())
    return ""


def ended(groups: "list[Group]") -> None:
    """End whatever a test has left."""
    for process in train_controllers():
        process.kill()
    for group in groups:
        group.fit.join(PATIENCE_S)
        release_placement_groups(group.trainer.prefix)
        ray.kill(group.table)
    until(lambda: not room())


class Group:
    """One run of an `InPlaceTrainer` under way."""

    def __init__(self, folder: Path, num_workers: int, max_failures: int = 0) -> None:
        self._folder = folder
        self.table = ray.remote(Table).options(num_cpus=0).remote()
        self.trainer = InPlaceTrainer(
            work,
            controller=self.table,
            train_loop_config={"table": self.table},
            scaling_config=ScalingConfig(
                num_workers=num_workers, resources_per_worker={"CPU": 0.5}
            ),
            run_config=RunConfig(
                name="run",
                storage_path=str(folder),
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                failure_config=FailureConfig(max_failures=max_failures),
            ),
        )
        self.write(missing=num_workers)
        self.fit = SideThread("fit", self._fit)

    def _fit(self) -> None:
        self.result = self.trainer.fit()

    def write(self, **changes: Any) -> None:
        """Change the orders, and wait until they were read twice: then they are carried out."""
        before = ray.get(self.table.write.remote(**changes))
        if hasattr(self, "fit"):
            self.until(lambda now: now["num_polls"] >= before + 2)

    def until(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until what the table knows fits."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition(now := ray.get(self.table.read.remote())):
            assert self.fit.is_alive(), f"the run has ended: {self.fit.error}"
            assert time.monotonic() < deadline_s, now
            threading.Event().wait(0.02)
        return now

    def dialled(self, number: int) -> list[str]:
        """Wait until so many workers live; return their labels, the oldest first."""
        now = self.until(lambda now: len(now["living"]) == number)
        return list(now["living"])

    def facts(self, label: str) -> dict[str, Any]:
        return ray.get(self.table.read.remote())["living"][label]

    def join(self, generation: int, *members: str) -> None:
        """Form a generation: what the workers do by themselves, and what the host says then."""
        for label, mine in zip(members, ranks(["node"] * len(members)), strict=True):
            self.tell(label, "join", vars(mine))
        wanted = [(rank, len(members)) for rank in range(len(members))]
        self.until(lambda now: [now["living"][label]["context"][:2] for label in members] == wanted)
        self.write(members=members, generation=generation)

    def tell(self, label: str, what: str, value: Any = None) -> None:
        ray.get(self.table.tell.remote(label, what, value))

    def stall(self, yes: bool) -> None:
        ray.get(self.table.stall.remote(yes))

    def workers_known_to_ray(self, number: int) -> list[str]:
        """Wait until Ray's own record of the run has so many workers; return them by rank."""
        actor = ray.get_actor("train_v2_state_actor", namespace="_train_state_actor")
        run = self.trainer.train_run_context.run_id
        found: list[Any] = []

        def as_many() -> bool:
            (attempt,) = ray.get(actor.get_train_run_attempts.remote())[run].values()
            found[:] = sorted(attempt.workers, key=lambda worker: worker.world_rank)
            return len(found) == number

        until(as_many)
        assert [worker.world_rank for worker in found] == list(range(number))
        assert all(worker.log_file_path for worker in found)
        return [worker.actor_id for worker in found]

    def hang_up(self, label: str) -> None:
        ray.get(self.table.hang_up.remote(label))

    def checkpoint(self, **record: Any) -> None:
        ray.get(self.table.checkpoint.remote(event="checkpoint", **record))

    def pointers(self) -> list[dict[str, str]]:
        """Return the checkpoints that Ray Train keeps."""
        return [json.loads(file.read_text()) for file in self._folder.glob(f"*/*/{POINTER_FILE}")]

    def expect_room(self, number: int) -> None:
        """Wait until so many placement groups are left."""
        until(lambda: len(room()) == number)

    def expect_gone(self, pid: int) -> None:
        until(lambda: not psutil.pid_exists(pid))

    def finish(self) -> Any:
        """Wait for the end; return the result, or raise why it failed."""
        self.fit.join(PATIENCE_S)
        assert not self.fit.is_alive()
        if self.fit.error is not None:
            raise self.fit.error
        return self.result
