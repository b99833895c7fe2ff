"""Runs on plain processes that are resized, hurt and watched."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from absa.boundary import Command
from absa.events import Record
from absa.run_folder import new_run
from cluster.elastic.processes import Processes
from cluster.elastic.protocol.coordinator import Limits
from cluster.job import Job
from cluster.job_rules import resolve
from cluster.load_job import load_job

LIMITS = Limits(lease_s=3.0, margin_s=1.0, gather_s=1.0, form_s=20.0)
SEED, BATCH = 5, 24


def witness_job(folder: Path, *more: str) -> Job:
    """Return a job whose workers note in ``folder`` what they compute on."""
    (folder / "notes").mkdir(parents=True)
    settings = {
        "seed": SEED,
        "task.use": "witness:Witness",
        "task.args.folder": str(folder / "notes"),
        "batch.initial": BATCH,
        "batch.bn_group": 4,
        "optimizer.lr": 0.001,
        "schedule.reference_batch": BATCH,
        "schedule.warmup.kind": "none",
        "schedule.decay.kind": "none",
        "stop.epochs": 100000,
        "evaluate.every_epochs": 3,
        "observe.every_updates": 1,
        "checkpoint.every_s": 100000,
        "checkpoint.keep_best": "false",
        "workers.max": 4,
        "workers.threads": 1,
        "storage": str(folder / "runs"),
    }
    written = [f"{key}={value}" for key, value in settings.items()]
    path = folder / "job.yaml"
    path.write_text("name: witness\n")
    return resolve(load_job(path, [*written, *more]))


class Elastic:
    """One run on plain processes, driven step by step."""

    def __init__(self, job: Job, wanted: int = 1, limits: Limits = LIMITS) -> None:
        self.records: list[Record] = []
        folder = new_run(job.storage, job.name)
        self.processes = Processes(job, folder, wanted, self.records.append, limits)
        self.over = False

    def __enter__(self) -> "Elastic":
        return self

    def __exit__(self, *error) -> None:
        self.processes.__exit__(*error)

    def until(self, condition: Callable[[], bool]) -> None:
        """Go on until something is true."""
        while not condition():
            assert not self.over, f"the run is over: {self.records[-3:]}"
            self.over = self.processes.step()

    def members(self) -> tuple[str, ...]:
        """Return the labels of the workers that train, in the order of their ranks."""
        return self.processes.host.orders().members

    def train(self, workers: int, updates: int) -> None:
        """Go on until a group of so many has made so many updates."""
        self.until(lambda: len(self.members()) == workers)
        until = self.update() + updates
        self.until(lambda: self.update() >= until)

    def update(self) -> int:
        """Return the updates made so far."""
        return max((record["update"] for record in self.records), default=0)

    def wish(self, workers: int) -> None:
        self.processes.host.wish(workers)

    def signal(self, rank: int, number: int = signal.SIGKILL) -> str:
        """Send a signal to a rank; return its label."""
        label = self.members()[rank]
        pid = self.processes.children[label].process.pid
        assert pid is not None
        os.kill(pid, number)
        return label

    def change_batch(self, batch: int) -> None:
        """Ask for another global batch, and see it in force."""
        self.processes.command(Command("the test", global_batch=batch))
        self.until(lambda: any("global_batch" in r["changed"] for r in self.of("settings")))

    def end(self) -> None:
        """Ask for the end, and see it."""
        self.processes.command(Command("the test is over", stop="interrupted"))
        while not self.over:
            self.over = self.processes.step()

    def of(self, event: str) -> list[Record]:
        return [record for record in self.records if record["event"] == event]

    def losses(self) -> Iterator[tuple[int, float]]:
        """Return the loss of each update."""
        for record in self.of("observation"):
            yield record["update"], record["loss"]
