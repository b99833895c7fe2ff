"""One `absa train` as a user starts it, told to grow and shrink, and its workers killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.resize_stall.cases import CPUS_PER_WORKER, OffScriptError, Script
from benchmarks.resize_stall.task import LR, MOMENTUM
from benchmarks.resize_stall.trace import RANK, UPDATE, Marks, read_marks

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300.0
_POLL_S = 0.2
_NEVER = 1e6


def job(script: Script, traces: Path) -> dict[str, Any]:
    """Return a job that trains until it is told to end and does nothing else."""
    return {
        "name": "stall",
        "task": {
            "use": "benchmarks.resize_stall.task:SyntheticTask",
            "args": {"size": script.size.name, "traces": str(traces)},
        },
        "batch": {"initial": script.size.batch},
        "optimizer": {"name": "sgd", "lr": LR, "momentum": MOMENTUM, "weight_decay": 0.0},
        "schedule": {
            "scaling": "none",
            "warmup": {"kind": "none"},
            "decay": {"kind": "none"},
        },
        "stop": {"epochs": _NEVER},
        "evaluate": {"every_epochs": _NEVER},
        "checkpoint": {"every_s": _NEVER, "keep_best": False},
        "workers": {
            "min": script.changes[0].before,
            "max": script.max_workers,
            "cpus": CPUS_PER_WORKER,
            "threads": 1,
        },
        "elastic": {"plan": []},
    }


class OurRun:
    """An `absa train --json` under way; made by `our_run`.

    Args:
        folder: Of its own: for the job, the run, the marks.
    """

    def __init__(self, script: Script, folder: Path) -> None:
        self.folder = folder
        self.records: list[dict[str, Any]] = []
        self._errors = (folder / "stderr").open("w+b")
        self._environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        (folder / "job.yaml").write_text(yaml.safe_dump(job(script, folder)), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cluster", "train", "--json", "job.yaml"],
            cwd=folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # A Ctrl-C is ours alone: we end it, and wait until it has.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for_resize(self, number: int) -> dict[str, Any]:
        """Return the journal's record of the change of this number, from 0, once it is there."""

        def resizes() -> list[dict[str, Any]]:
            return [record for record in self.records if record["event"] == "resize"]

        self.wait_for(lambda: len(resizes()) > number, f"change {number}")
        return resizes()[number]

    def scale(self, workers: int) -> None:
        """Ask for so many workers."""
        (run,) = (self.folder / "runs").iterdir()
        subprocess.run(
            [sys.executable, "-m", "cluster", "scale", str(run), str(workers)],
            cwd=self.folder,
            env=self._environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def kill(self, rank: int) -> None:
        """End the worker of a rank by SIGKILL.

        Raises:
            RuntimeError: Not exactly one worker says that it has this rank.
        """
        ranks = {each.pid: _rank(each) for each in self._members()}
        victims = [pid for pid, each in ranks.items() if each == str(rank)]
        if len(victims) != 1:
            raise RuntimeError(
                f"one worker must have RANK={rank} in its environment; by process: {ranks}"
            )
        os.kill(victims[0], signal.SIGKILL)

    def wait_for_updates(self, num: int, since_s: float) -> None:
        """Return once each member has made ``num`` updates since a time."""

        def all_made() -> bool:
            made = [sum(t > since_s for t in each.times(UPDATE)) for each in self._members()]
            return bool(made) and min(made) >= num

        self.wait_for(all_made, f"{num} more updates")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Return once a condition holds.

        Raises:
            OffScriptError: The run has ended, or `PATIENCE_S` have passed.
        """
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise OffScriptError(f"our run never came to {what}; {self._end_of_errors()}")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """End the run, and all of its processes with it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                # What watches over its Ray ends the rest when the driver is gone.
                self.process.kill()
        self.process.wait()
        self._reader.join(30)
        self._errors.close()

    def _members(self) -> list[Marks]:
        """Return the living processes that have made updates."""
        return [m for m in read_marks(self.folder) if m.has(UPDATE) and _lives(m.pid)]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.records.append(json.loads(line))
        self.process.stdout.close()

    def _end_of_errors(self) -> str:
        self._errors.flush()
        text = (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")
        return f"its last words: {text[-2000:] or self.records[-1:]}"


@contextmanager
def our_run(script: Script, folder: Path) -> Iterator[OurRun]:
    """Train for the duration of a ``with`` block."""
    run = OurRun(script, folder)
    try:
        yield run
    finally:
        run.close()


def _rank(marks: Marks) -> str:
    last = [name for _, name in marks.all if name.startswith(f"{RANK} ")][-1]
    return last.split()[1]


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
