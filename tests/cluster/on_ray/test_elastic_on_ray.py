"""Workers join, leave and are lost while `absa train` goes on, on a Ray of its own."""

import pytest
from elastic_commands import BATCH, SEED, Elastic
from witness import NUM_TRAIN, ensure_exactly_once, updates

pytestmark = pytest.mark.ray


@pytest.fixture
def begin(train, own_environment, tmp_path):
    """Start a run of the witness's."""
    return lambda **settings: Elastic(train, own_environment, tmp_path, settings)


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
    assert [f["what"] for f in run.of("fault")] == ["worker 2 was lost", "worker 0 was lost"]
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


@pytest.mark.soak
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
    assert "actor died" in error["message"]
    assert "(raylet)" not in run.errors()
    assert run.of("run_ended") == []
    assert run.all_gone()


@pytest.mark.soak
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
    assert "3 newcomers in a row were lost" in given_up["what"]
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
    assert len(run.of("fault")) == 2
    assert run.all_gone()
