"""Elastic runs of the `absa` command that note what they compute on, and what is done to them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SEED, BATCH = 5, 24


class Elastic:
    """A run whose workers note what they compute on, and what can be done to it."""

    def __init__(
        self, train, environment, folder: Path, settings: dict[str, object], **variables: str
    ) -> None:
        self._train, self._environment = train, environment
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
        self._variables = {"PYTHONPATH": path, **variables}
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.run = train(*self._job(settings), **self._variables)

    def resume(self, **settings: object):
        words = _as_words(settings)
        return self._train("--resume", "latest", *words, **self._variables)

    def scale(self, workers: int) -> None:
        """Ask for another number of workers, as an operator does."""
        subprocess.run(
            [sys.executable, "-m", "cluster", "scale", "latest", str(workers)],
            cwd=self.run.folder,
            env=self._environment(self.run.folder),
            check=True,
            capture_output=True,
        )

    def places(self) -> dict[int, list[dict]]:
        """Return what each process noted of its place, by its id."""
        return {
            int(path.stem): [json.loads(line) for line in path.read_text().splitlines()]
            for path in self.notes.glob("*.places")
        }

    def kill(self, *ranks: int) -> None:
        """End the processes of ranks without warning."""
        living = {
            places[-1]["variables"][0]: pid
            for pid, places in self.places().items()
            if psutil.pid_exists(pid)
        }
        for rank in ranks:
            os.kill(living[rank], signal.SIGKILL)

    def until_resized(self, before: int, after: int, **fields: int) -> None:
        """Wait for a resize and for the first update after it."""
        wanted = {"before": before, "after": after, **fields}
        self.run.wait_for(lambda e: e["event"] == "resize" and e.items() >= wanted.items())
        self.until_trained(after)

    def until_trained(self, workers: int) -> None:
        """Wait until so many workers have made some updates."""
        for _ in range(5):
            self.run.wait_for(lambda e: e["event"] == "observation" and e["workers"] == workers)

    def _job(self, settings: dict[str, object]) -> list[str]:
        return _as_words(
            {
                "name": "witness",
                "seed": SEED,
                "task.use": "ray_witness:RayWitness",
                "task.args.folder": self.notes,
                "batch.initial": BATCH,
                "batch.max": BATCH,
                "policy.kind": "fixed",
                "batch.bn_group": 4,
                "optimizer.lr": 0.001,
                "schedule.reference_batch": BATCH,
                "schedule.warmup.kind": "none",
                "schedule.decay.kind": "none",
                "stop.epochs": 100000,
                "evaluate.every_epochs": 10,
                "observe.every_updates": 1,
                "checkpoint.keep_best": "false",
                "workers.max": 2,
                "workers.threads": 1,
                **settings,
            }
        )


def _as_words(settings: dict[str, object]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
