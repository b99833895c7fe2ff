"""Where a run goes on: one checkpoint for all ranks, and what the user changed since."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from absa.collective import SingleProcess
from absa.errors import CheckpointError, DataError
from absa.outside import Outside
from absa.run_folder import RunFolder, open_run
from cluster.compose import compose
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.local import train_local
from cluster.session import Beginning, begin, train


@dataclass(frozen=True)
class SecondRank(SingleProcess):
    """Rank 1 of two, alone; ``told`` is what rank 0 broadcasts."""

    rank: int = 1
    world_size: int = 2
    told: Any = None

    def broadcast_value(self, value: Any, source: int) -> Any:
        return self.told


CPU = torch.device("cpu")
SMALL = [
    "schedule.scaling=linear",
    "policy.kind=fixed",
    "model.name=mlp",
    "model.args.hidden=[8]",
    "schedule.warmup.kind=none",
    "workers.threads=1",
]


@pytest.fixture
def make_job(tmp_path):
    def make(*overrides: str):
        return resolve(load_job(None, [f"storage={tmp_path}/runs", *SMALL, *overrides]))

    return make


def ignore(record: dict) -> None:
    """Show nothing."""


def trained(job) -> RunFolder:
    train_local(job, resume=None, view=ignore)
    return open_run("latest", job.storage)


def batches(run: RunFolder, lineage: int) -> set[int]:
    lines = Path(run.location, "events.jsonl").read_text().splitlines()
    observed = [r for r in map(json.loads, lines) if r["event"] == "observation"]
    return {r["global_batch"] for r in observed if r["lineage"] == lineage}


def test_a_batch_that_was_changed_since_the_checkpoint_is_in_force(make_job):
    run = trained(make_job("stop.epochs=1"))
    assert (
        train_local(make_job("stop.epochs=2", "batch.initial=128"), resume="latest", view=ignore)
        == 0
    )
    assert batches(run, 0) == {64}
    assert batches(run, 1) == {128}


def test_a_batch_that_was_left_alone_is_that_of_the_checkpoint(make_job):
    job = make_job("stop.epochs=1", "batch.initial=32")
    run = trained(job)
    beginning = begin(job, compose(job, CPU), run)
    assert beginning.state.settings.global_batch == 32
    longer = make_job("stop.epochs=5", "batch.initial=32", "batch.max=64")
    assert begin(longer, compose(longer, CPU), run).state == beginning.state


def test_momentum_that_holds_the_learning_rate_follows_a_changed_batch(make_job):
    lars = ["optimizer.name=lars", "optimizer.lr=1", "schedule.decay.kind=none"]
    job, larger = (make_job("stop.updates=3", *lars, f"batch.initial={n}") for n in (32, 64))
    run = trained(job)
    composed = [compose(j, CPU) for j in (job, larger)]
    for each, one in zip((job, larger), composed, strict=True):
        begin(each, one, run)
    for mine, theirs in zip(*(c.replica.optimizer.state.values() for c in composed), strict=True):
        assert theirs["momentum_scale"] == 2 * mine["momentum_scale"]
        assert torch.equal(theirs["momentum_buffer"], mine["momentum_buffer"])


def test_a_rank_that_does_not_see_the_checkpoint_fails_and_does_not_begin_anew(make_job):
    job = make_job("stop.updates=2")
    run = trained(job)
    elsewhere = RunFolder("elsewhere", run.root)
    name = begin(job, compose(job, CPU), run).checkpoint

    with pytest.raises(CheckpointError, match=r"elsewhere.* has no manifest.json"):
        begin(job, compose(job, CPU), elsewhere, SecondRank(told=name))


def test_rank_0_says_which_checkpoint_it_is(make_job):
    job = make_job("stop.updates=2", "checkpoint.keep_last=2", "checkpoint.every_epochs=0.04")
    run = trained(job)
    first, last = sorted(Path(run.location, "checkpoints").iterdir())
    composed = compose(job, CPU)
    assert begin(job, composed, run).checkpoint == last.name
    assert begin(job, composed, run, SecondRank(told=first.name)).checkpoint == first.name
    assert begin(job, composed, run, SecondRank()).checkpoint is None


def test_a_rank_with_other_data_fails(make_job):
    job = make_job()
    outside = Outside(SecondRank(told=(1437, 359, ("accuracy", "loss"))), None, None)
    composed = compose(job, CPU)

    with pytest.raises(DataError, match=r"rank 1 has .*1438.* rank 0 has .*1437"):
        train(job, composed, Beginning(composed.start, None), "run", outside)
