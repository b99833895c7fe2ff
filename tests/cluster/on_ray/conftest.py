"""Runs the `absa` command as a user does: a process of its own, in a folder of its own."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[3]
PATIENCE_S = 300
"""Far more than anything takes, so that a busy machine is no failure."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """Without anything of Ray's or ours from outside."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "ABSA_"))}
    return kept | {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | more


class Run:
    """One `absa train --json` under way."""

    def __init__(self, folder: Path, arguments: Sequence[str], variables: dict[str, str]) -> None:
        self.folder = folder
        self.events: list[dict[str, Any]] = []
        self.processes: set[psutil.Process] = set()
        self._errors = (folder / "stderr").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cluster", "train", "--json", *arguments],
            cwd=folder,
            env=environment(folder, **variables),
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read events until one fits, and note all processes that run then."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line, parse_constant=_no_constant))
            if condition(self.events[-1]):
                self.note_processes()
                return self.events[-1]
        raise AssertionError(f"it never came; events: {self.events[-3:]}; {self.errors()}")

    def note_processes(self) -> None:
        self.processes |= set(psutil.Process(self.process.pid).children(recursive=True))

    def interrupt(self) -> None:
        """Press Ctrl-C: a terminal sends it to the whole process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def finish(self) -> int:
        """Read the rest; return the exit code."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line, parse_constant=_no_constant))
        return self.process.wait(PATIENCE_S)

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def of(self, event: str) -> list[dict[str, Any]]:
        return [record for record in self.events if record["event"] == event]

    def workers(self) -> list[psutil.Process]:
        """Return the training processes."""
        self.note_processes()
        return [p for p in self.processes if any("RayTrainWorker" in w for w in _words(p))]

    def ports_open_to_others(self) -> set[tuple[str, int]]:
        """Return the addresses that other machines could reach, of all processes noted."""
        found = {each for p in self.processes if p.is_running() for each in _listening(p)}
        return {each for each in found if each[0].rpartition(":")[2] not in ("127.0.0.1", "1")}

    def rendezvous(self) -> set[tuple[str, int]]:
        """Return the port of `torch.distributed`, which cannot be bound to an address."""
        return {each for p in self.workers() for each in _listening(p) if each[0] == "::"}

    def run_folder(self) -> Path:
        (folder,) = (self.folder / "runs").iterdir()
        return folder

    def ray_folder(self) -> Path | None:
        """Where its own Ray keeps its files, as long as it runs."""
        for process in self.processes:
            found = [word for word in _words(process) if word.startswith("--log_dir=/")]
            if found:
                return Path(found[0].partition("=")[2]).parents[1]
        return None

    def stop(self) -> None:
        if self.process.poll() is None:
            self.note_processes()
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self._errors.close()
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def all_gone(self) -> bool:
        """Wait until every process that was noted has ended."""
        return not psutil.wait_procs(self.processes, timeout=PATIENCE_S)[1]


def _listening(process: psutil.Process) -> set[tuple[str, int]]:
    connections = process.net_connections("tcp")
    return {tuple(c.laddr) for c in connections if c.status == psutil.CONN_LISTEN}


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@pytest.fixture(scope="session")
def own_environment() -> Callable[..., dict[str, str]]:
    """The environment of a process that shares nothing of Ray's with others."""
    return environment


@pytest.fixture(scope="session")
def train_in() -> Iterator[Callable[..., Run]]:
    """Start ``absa train --json`` in a folder; whatever still runs at the end is ended."""
    runs: list[Run] = []

    def start(folder: Path, *arguments: str, **variables: str) -> Run:
        runs.append(Run(folder, arguments, variables))
        return runs[-1]

    yield start
    for run in runs:
        run.stop()


@pytest.fixture
def train(train_in: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    """Start ``absa train --json`` in the test's folder."""
    return functools.partial(train_in, tmp_path)
