"""Another number of workers by a new worker group, with Ray Train's public interface alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

NUM_TRAIN = 1438
JOB = [
    *("--set", "elastic.mode=restart", "--set", "workers.threads=1"),
    *("--set", "policy.kind=fixed"),
    *("--set", "batch.bn_group=32", "--set", "schedule.warmup.epochs=1"),
    *("--set", "observe.every_updates=5", "--set", "checkpoint.keep_best=false"),
]

EPOCHS = 150
"""Far longer than a second worker takes to be given, on a fast machine too."""


def planned(plan: str, epochs: int) -> list[str]:
    return [*JOB, "--set", f"elastic.plan={plan}", "--set", f"stop.epochs={epochs}"]


def journal(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def test_a_planned_worker_joins_and_training_goes_on_where_it_stopped(train):
    run = train(*planned("[{epochs: 1, workers: 2}]", EPOCHS))

    assert run.finish() == 0, run.errors()
    assert run.errors() == ""
    assert [e["reason"] for e in run.of("run_ended")] == ["epochs"]
    assert run.of("fault") == []
    first, second = run.of("run_started")
    assert (first["lineage"], first["workers"]) == (0, 1)
    assert (second["lineage"], second["workers"]) == (1, 2)
    records = journal(run.run_folder())
    last = [r for r in records if r["lineage"] == 0][-1]
    assert last["event"] == "checkpoint"
    assert last["checkpoint"] == second["resumed_from"]
    assert (second["samples"], second["update"]) == (last["samples"], last["update"])
    assert last["samples"] % NUM_TRAIN != 0, "the resize is to come in mid-epoch"
    # 23 updates an epoch, the last one short: along both groups, as if there were one.
    for record in records:
        epoch, rest = divmod(record["update"], 23)
        assert record["samples"] == epoch * NUM_TRAIN + rest * 64
    assert [r["samples"] / NUM_TRAIN for r in run.of("evaluation")] == [*range(1, EPOCHS + 1)]
    (resize,) = run.of("resize")
    assert resize.items() >= {"before": 1, "after": 2, "joined": 1, "left": 0, "lost": 0}.items()
    assert (resize["lineage"], resize["samples"]) == (1, second["samples"])
    assert resize["reason"] == "planned from epoch 1 on"
    assert resize["seconds"] == pytest.approx(sum(resize["phases"].values()))
    assert 0 < resize["seconds"] < second["time"] - first["time"]
    assert "control.json" not in {path.name for path in run.run_folder().iterdir()}
    assert run.all_gone()


@pytest.mark.soak
def test_an_operator_scales_a_run_and_ctrl_c_between_two_groups_ends_it(train, own_environment):
    run = train(*planned("[]", 1000), "--set", "storage=runs")
    run.wait_for(lambda e: e["event"] == "observation")
    command = [sys.executable, "-m", "cluster", "scale", "latest"]

    def scale(workers: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, str(workers)],
            cwd=run.folder, env=own_environment(run.folder), capture_output=True, text=True,
        )  # fmt: skip

    refused = scale(3)
    assert refused.returncode == 2
    assert "not within workers.min = 1 and workers.max = 2" in " ".join(refused.stderr.split())
    asked = scale(2)
    assert asked.returncode == 0, asked.stderr
    assert "2 worker(s) are wanted from now on" in asked.stdout
    (resize,) = [run.wait_for(lambda e: e["event"] == "resize")]
    assert resize["reason"] == "asked for by an operator"
    assert scale(1).returncode == 0
    # Between two groups nobody trains: the last checkpoint stands.
    run.wait_for(lambda e: e["event"] == "checkpoint" and e["update"] > resize["update"])
    run.interrupt()

    assert run.finish() == 130, run.errors()
    (ended,) = run.of("run_ended")
    assert ended["reason"] == "interrupted"
    checkpoint = run.of("checkpoint")[-1]
    assert (ended["checkpoint"], ended["update"]) == (
        checkpoint["checkpoint"],
        checkpoint["update"],
    )
    assert ended["seconds"] > 0
    assert scale(1).returncode == 2
    assert "is not training" in scale(1).stderr
    assert run.all_gone()
