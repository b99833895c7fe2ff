"""Workers join, leave and are lost while `absa train` goes on, on a real Ray."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from witness import NUM_TRAIN, ensure_exactly_once, updates

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[3]
SEED, BATCH = 5, 24


class Elastic:
    """A run whose workers note what they compute on, and what can be done to it."""

    def __init__(self, train, environment, folder: Path, **settings: object) -> None:
        self._train, self._environment = train, environment
        self._path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
        self.notes = folder / "notes"
        self.notes.mkdir()
        self.run = train(*self._job(settings), PYTHONPATH=self._path)

    def resume(self, **settings: object):
        words = _as_words(settings)
        return self._train("--resume", "latest", *words, PYTHONPATH=self._path)

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


@pytest.fixture
def begin(train, own_environment, tmp_path):
    """Start a run of the witness's."""
    return lambda **settings: Elastic(train, own_environment, tmp_path, **settings)


def test_an_eventful_run_goes_on_in_one_lineage_and_is_resumed_to_its_end(begin):
    elastic = begin()
    run = elastic.run
    elastic.until_resized(1, 2, joined=1, left=0, lost=0)  # the default plan
    elastic.scale(1)
    elastic.until_resized(2, 1, joined=0, left=1, lost=0)
    elastic.scale(2)
    elastic.until_resized(1, 2, joined=1, left=0, lost=0)
    elastic.kill(1)
    elastic.until_resized(2, 1, joined=0, left=0, lost=1)
    elastic.until_resized(1, 2, joined=1, left=0, lost=0)
    elastic.kill(0)
    elastic.until_resized(2, 1, joined=0, left=0, lost=1)
    elastic.until_resized(1, 2, joined=1, left=0, lost=0)
    run.interrupt()

    assert run.finish() == 130, run.errors()
    assert run.errors() == ""
    (ended,) = run.of("run_ended")
    assert ended["reason"] == "interrupted"
    assert {record["lineage"] for record in run.events if "lineage" in record} == {0}
    assert len(run.of("run_started")) == 1
    assert len(run.of("resize")) == 7
    print(run.of("fault"))
    assert run.all_gone()

    epochs = ended["samples"] // NUM_TRAIN + 2
    resumed = elastic.resume(**{"stop.epochs": epochs, "workers.min": 2})
    assert resumed.finish() == 0, resumed.errors()
    assert resumed.errors() == ""
    (started,), (finished,) = resumed.of("run_started"), resumed.of("run_ended")
    assert (started["lineage"], started["resumed_from"]) == (1, ended["checkpoint"])
    assert (finished["reason"], finished["samples"]) == ("epochs", epochs * NUM_TRAIN)
    assert resumed.of("fault") == []

    found = updates(elastic.notes)
    ensure_exactly_once(found, SEED, BATCH)
    assert len(found) == finished["update"]
    places = [place for noted in elastic.places().values() for place in noted]
    assert all(place["variables"] == place["context"] for place in places)
    numbers = {tuple(place["variables"]) for place in places}
    assert numbers == {(0, 1, 0, 1, 0), (0, 2, 0, 2, 0), (1, 2, 1, 2, 0)}


def test_when_all_workers_die_ray_starts_the_group_again_as_often_as_allowed(begin):
    elastic = begin(**{"workers.max_restarts": 1, "checkpoint.every_s": 1})
    run = elastic.run
    elastic.until_resized(1, 2)
    run.wait_for(lambda e: e["event"] == "checkpoint")
    elastic.kill(0, 1)
    run.wait_for(lambda e: e["event"] == "run_started")
    (fault,) = [f for f in run.of("fault") if f["what"] == "the worker group was lost"]
    again = run.of("run_started")[1]
    assert (fault["lineage"], again["lineage"]) == (1, 1)
    assert again["resumed_from"] in [c["checkpoint"] for c in run.of("checkpoint")]
    elastic.until_trained(2)
    elastic.kill(0, 1)

    assert run.finish() == 3
    (error,) = run.of("error")
    assert "more often than workers.max_restarts allows" in error["message"]
    assert "Traceback" not in run.errors()
    print(run.of("fault"), run.errors())
    assert run.of("run_ended") == []
    assert run.all_gone()


def test_newcomers_that_fail_are_told_of_and_ctrl_c_ends_while_one_warms_up(begin):
    elastic = begin(**{"elastic.plan": "[]"})
    run = elastic.run
    elastic.until_trained(1)
    (elastic.notes / "broken").touch()
    elastic.scale(2)
    failed = run.wait_for(lambda e: e["event"] == "fault")
    assert failed["what"] == "a new worker failed"
    assert failed["detail"].startswith("KeyError: 'this worker cannot build the model' (/")
    given_up = run.wait_for(lambda e: e["event"] == "fault")
    assert "3 newcomers in a row were lost" in given_up["detail"]
    elastic.until_trained(1)
    (elastic.notes / "broken").unlink()
    (elastic.notes / "slow").touch()
    elastic.scale(2)
    while not (elastic.notes / "waiting").exists():
        elastic.until_trained(1)
    run.note_processes()
    run.interrupt()

    assert run.finish() == 130, run.errors()
    assert run.errors() == ""
    (ended,) = run.of("run_ended")
    assert ended["reason"] == "interrupted"
    print(run.of("fault"))
    assert run.all_gone()
