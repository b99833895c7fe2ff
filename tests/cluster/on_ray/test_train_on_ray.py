"""`absa train` on a Ray of its own, from the first process to the last file."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from absa.journal import open_journal
from absa.run_folder import open_run

pytestmark = pytest.mark.ray

JOB = [
    *("--set", "workers.threads=1", "--set", "batch.bn_group=32"),
    *("--set", "schedule.warmup.epochs=1", "--set", "checkpoint.keep_best=false"),
    *("--set", "evaluate.every_epochs=8"),
    # A group of one size, with nothing but Ray Train's public interface.
    *("--set", "elastic.mode=restart", "--set", "elastic.plan=[]"),
]


def epochs(number: float) -> list[str]:
    return [*JOB, "--set", f"stop.epochs={number}"]


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    newest = max((run / "checkpoints").iterdir())
    (file,) = newest.glob("tensors-*.safetensors")
    return load_file(file)


def journal(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def by_update(events: list[dict]) -> dict[int, float]:
    return {e["update"]: e["loss"] for e in events if e["event"] == "observation"}


def starts(event: dict) -> bool:
    return event["event"] == "run_started"


def observed(event: dict) -> bool:
    return event["event"] == "observation"


@pytest.fixture(scope="module")
def alone(train_in, tmp_path_factory) -> Path:
    """A run that nothing disturbed, in one process."""
    run = train_in(tmp_path_factory.mktemp("alone"), "--local", *epochs(24))
    assert run.finish() == 0, run.errors()
    return run.run_folder()


def test_two_workers_give_the_result_of_one_and_leave_nothing_behind(train, alone):
    run = train(*epochs(2), "--set", "workers.min=2")
    run.wait_for(starts)
    folder = run.ray_folder()
    assert folder is not None
    assert folder.is_dir()
    open_to_others = run.ports_open_to_others() - run.rendezvous()

    assert run.finish() == 0, run.errors()
    assert run.errors() == ""
    assert [e["reason"] for e in run.of("run_ended")] == ["epochs"]
    assert run.events[-1]["event"] == "run_folder"
    assert run.of("run_started")[0]["workers"] == 2
    one, two = by_update(journal(alone)), by_update(journal(run.run_folder()))
    assert two[20] == pytest.approx(one[20], rel=1e-5)
    assert list(two) == sorted(two)
    files = {path.name for path in run.run_folder().iterdir()}
    assert files == {"job.yaml", "lock", "events.jsonl", "checkpoints", "report.html", "ray_train"}
    (pointer,) = run.run_folder().glob("ray_train/lineage-0/checkpoint_*/absa-checkpoint.json")
    assert Path(json.loads(pointer.read_text())["checkpoint"]).is_dir()
    assert run.all_gone()
    assert not folder.exists()
    assert open_to_others == set()


def test_ctrl_c_checkpoints_and_resume_ends_with_the_weights_of_an_undisturbed_run(train, alone):
    run = train(*epochs(24))
    run.wait_for(observed)
    run.interrupt()

    assert run.finish() == 130, run.errors()
    (ended,) = run.of("run_ended")
    assert ended["reason"] == "interrupted"
    assert ended["samples"] % 1438 != 0, "the interrupt is to come in mid-epoch"
    assert run.all_gone()
    resumed = train("--resume", "latest")
    assert resumed.finish() == 0, resumed.errors()
    assert resumed.of("run_started")[0]["resumed_from"] == ended["checkpoint"]
    mine, theirs = final_weights(run.run_folder()), final_weights(alone)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], tensor) for name, tensor in theirs.items())


def test_a_killed_worker_costs_a_restart_and_one_too_many_ends_the_run_with_the_cause(train):
    job = ("--set", "workers.min=2", "--set", "workers.max_restarts=1")
    run = train(*epochs(1000), *job, "--set", "checkpoint.every_epochs=2")
    run.wait_for(lambda e: e["event"] == "checkpoint")
    first = run.workers()
    assert len(first) == 2
    first[-1].kill()
    run.wait_for(starts)
    (fault,), (started, again) = run.of("fault"), run.of("run_started")
    assert (started["lineage"], fault["lineage"], again["lineage"]) == (0, 1, 1)
    assert re.fullmatch(r"update-\d+(-.*)?", again["resumed_from"])
    run.wait_for(observed)
    next(worker for worker in run.workers() if worker not in first).kill()

    assert run.finish() == 3
    (error,) = run.of("error")
    assert "more often than workers.max_restarts allows" in error["message"]
    assert "Traceback" not in run.errors()
    assert len(error["message"]) < 1000
    (logs,) = re.findall(r"Ray's logs are kept in (\S+)", error["message"])
    assert any(Path(logs).iterdir())
    shutil.rmtree(Path(logs).parents[1])
    assert (run.run_folder() / "report.html").is_file()
    assert run.all_gone()


def test_kill_9_of_the_command_leaves_nothing_running(train):
    run = train(*epochs(1000))
    run.wait_for(observed)
    folder = run.ray_folder()
    run.process.kill()

    assert run.all_gone()
    assert folder is not None
    assert not folder.exists()
    with open_journal(open_run("latest", str(run.folder / "runs")).storage, lineage=1):
        pass  # nobody holds its lock


def test_ctrl_c_at_the_start_leaves_no_run(train):
    run = train(*epochs(2))
    run.wait_for(lambda e: e.get("text", "").endswith("worker(s)"))
    run.interrupt()

    assert run.finish() == 130
    assert run.of("error")[0]["message"] == "interrupted"
    assert "Traceback" not in run.errors()
    assert list((run.folder / "runs").iterdir()) == []
    assert run.all_gone()


def test_a_second_ctrl_c_ends_at_once(train):
    run = train(*epochs(1000))
    run.wait_for(starts)
    (worker,) = run.workers()
    worker.suspend()  # so that no boundary comes
    run.interrupt()
    run.wait_for(lambda e: "Ctrl-C" in e.get("text", ""))
    run.interrupt()

    assert run.finish() == 130
    assert run.of("run_ended") == []
    assert run.all_gone()
