"""Real workers on plain processes: they join, leave and are killed while a run trains."""

import itertools
import signal

import pytest
from elastic_runs import BATCH, SEED, Elastic, witness_job
from witness import ensure_exactly_once, updates

from cluster.elastic.invitation import hang_up
from cluster.local import train_local

pytestmark = pytest.mark.cpu_heavy
LARGER = 36


@pytest.fixture(scope="module")
def eventful(tmp_path_factory):
    """A run that grows, shrinks and loses workers, rank 0 among them."""
    folder = tmp_path_factory.mktemp("eventful")
    job = witness_job(folder)
    with Elastic(job) as run:
        run.train(workers=1, updates=5)
        run.wish(2)
        run.train(workers=2, updates=5)
        run.wish(4)
        run.train(workers=4, updates=5)
        run.change_batch(LARGER)
        run.wish(3)
        run.train(workers=3, updates=5)
        run.wish(2)
        run.until(lambda: len(run.members()) == 2)
        run.signal(rank=1)
        run.train(workers=1, updates=5)
        run.train(workers=2, updates=5)  # the wish still stands
        run.signal(rank=0)
        run.train(workers=1, updates=5)
        run.train(workers=2, updates=5)
        run.end()
    return folder, run


def test_all_ranks_have_one_state_and_each_sample_is_used_once_in_the_one_order(eventful):
    folder, _ = eventful
    found = updates(folder / "notes")

    assert {update.world_size for update in found} == {1, 2, 3, 4}
    ensure_exactly_once(found, SEED, BATCH, LARGER)
    assert LARGER in {len(update.samples) for update in found}


def test_the_losses_are_those_of_a_run_that_nothing_happened_to(eventful, tmp_path):
    _, run = eventful
    losses = dict(run.losses())
    (changed,) = run.of("settings")
    records = []
    alone = witness_job(tmp_path, f"stop.updates={max(losses)}", "task.args.pace_s=0")
    train_local(alone, resume=None, view=records.append)
    expected = {r["update"]: r["loss"] for r in records if r["event"] == "observation"}
    losses = {update: loss for update, loss in losses.items() if update <= changed["update"]}

    assert len(losses) > 20
    for update, loss in losses.items():
        assert loss == pytest.approx(expected[update], rel=1e-9)


def test_every_change_is_journalled_with_what_it_cost(eventful):
    _, run = eventful
    resizes = run.of("resize")

    for key in ("joined", "left", "lost"):
        assert sum(r[key] for r in resizes) == {"joined": 5, "left": 2, "lost": 2}[key]
    for earlier, later in itertools.pairwise(resizes):
        assert earlier["after"] == later["before"]
    assert all(sum(r["phases"].values()) <= r["seconds"] * 1.001 for r in resizes)


def test_it_ends_once_with_a_checkpoint_and_no_lineage_but_the_first(eventful):
    _, run = eventful
    (ended,) = run.of("run_ended")

    assert ended["reason"] == "interrupted"
    assert ended["checkpoint"] is not None
    assert {record["lineage"] for record in run.records} == {0}
    assert len(run.of("run_started")) == 1


def test_a_frozen_worker_is_replaced_and_the_others_go_on(tmp_path):
    with Elastic(witness_job(tmp_path), wanted=2) as run:
        run.train(workers=2, updates=5)
        frozen = run.signal(1, signal.SIGSTOP)
        run.train(workers=1, updates=5)
        run.until(lambda: frozen in run.processes.ended)
        run.end()
    ensure_exactly_once(updates(tmp_path / "notes"), SEED, BATCH)


def test_a_worker_that_is_cut_off_is_replaced_and_the_run_goes_on(tmp_path):
    with Elastic(witness_job(tmp_path), wanted=2) as run:
        run.train(workers=2, updates=5)
        hang_up(run.processes.host._lines[0])  # of rank 0, whose process is well
        run.train(workers=1, updates=5)
        run.train(workers=2, updates=5)
        run.end()
    ensure_exactly_once(updates(tmp_path / "notes"), SEED, BATCH)


def test_a_wish_that_is_withdrawn_while_a_newcomer_warms_up_costs_nothing(tmp_path):
    with Elastic(witness_job(tmp_path)) as run:
        run.train(workers=1, updates=5)
        run.wish(3)
        run.until(lambda: len(run.processes.children) == 3)
        run.wish(1)
        run.until(lambda: len(run.processes.children) == 1)
        run.train(workers=1, updates=5)
        run.end()
    assert not run.of("resize")
    ensure_exactly_once(updates(tmp_path / "notes"), SEED, BATCH)


def test_when_all_die_a_new_lineage_goes_on_from_the_newest_checkpoint(tmp_path):
    with Elastic(witness_job(tmp_path, "checkpoint.every_s=0.2"), wanted=2) as run:
        run.train(workers=2, updates=5)
        run.until(lambda: bool(run.of("checkpoint")))
        for rank in (0, 1):
            run.signal(rank)
        run.until(lambda: len(run.of("run_started")) == 2)
        run.train(workers=2, updates=5)
        run.end()
    again = run.of("run_started")[1]

    assert again["lineage"] == 1
    assert again["resumed_from"] in [c["checkpoint"] for c in run.of("checkpoint")]
