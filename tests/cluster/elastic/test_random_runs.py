"""Runs of plain processes that are resized and hurt at random, for `make soak`."""

import random
import signal

import pytest
from elastic_runs import BATCH, SEED, Elastic, witness_job
from witness import ensure_exactly_once, updates

pytestmark = pytest.mark.soak
NUM_EVENTS = 12


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_each_sample_is_used_once_and_the_run_ends(tmp_path, seed):
    rng = random.Random(seed)
    with Elastic(witness_job(tmp_path)) as run:
        run.train(workers=1, updates=3)
        for _ in range(NUM_EVENTS):
            members = run.members()
            what = rng.choice(["wish", "wish", "wish", "kill", "freeze", "wait"])
            if what == "wish":
                run.wish(rng.randint(1, 4))
            elif what != "wait" and len(members) > 1:
                number = signal.SIGKILL if what == "kill" else signal.SIGSTOP
                run.signal(rng.randrange(len(members)), number)
            then = run.update() + rng.choice([1, 5, 40, 200])
            run.until(lambda then=then: run.update() >= then)
        run.end()

    assert {record["lineage"] for record in run.records} == {0}
    assert len(run.of("run_ended")) == 1
    ensure_exactly_once(updates(tmp_path / "notes"), SEED, BATCH)
