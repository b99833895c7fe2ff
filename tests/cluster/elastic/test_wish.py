import pytest

from absa.errors import ConfigError
from cluster.elastic.wish import Wanted, Wish
from cluster.job_rules import resolve
from cluster.load_job import parse_job


def wish(text: str, most: int = 3) -> Wish:
    return Wish(resolve(parse_job(f"workers: {{max: 3}}\n{text}".encode(), "job.yaml")), most)


def started(samples: int = 0) -> dict:
    return {"event": "run_started", "num_train": 100, "samples": samples}


def observed(samples: int) -> dict:
    return {"event": "observation", "samples": samples}


PLAN = "elastic: {plan: [{epochs: 0.5, workers: 3}, {epochs: 2, workers: 2}]}"


def test_before_training_has_begun_the_smallest_number_is_wanted():
    found = wish(PLAN)
    assert not found.begun
    assert found.now().workers == 1


def test_it_follows_the_plan_along_the_records():
    found = wish(PLAN)
    found.take(started())
    assert found.begun
    assert found.now().workers == 1
    found.take(observed(49))
    assert found.now().workers == 1
    found.take(observed(50))
    assert found.now() == Wanted(3, "planned from epoch 0.5 on")
    found.take(observed(200))
    assert found.now() == Wanted(2, "planned from epoch 2 on")


def test_without_a_plan_as_many_as_can_come_are_wanted():
    found = wish("", most=2)
    found.take(started())
    assert found.now() == Wanted(2, "as many as workers.max = 3 allows")


def test_a_run_that_is_resumed_is_where_the_plan_says_for_its_epoch():
    found = wish(PLAN)
    found.take(started(samples=60))
    assert found.now().workers == 3


def test_a_group_that_repeats_updates_does_not_take_the_plan_back():
    found = wish(PLAN)
    found.take(started())
    found.take(observed(200))
    found.take(started(samples=40))
    assert found.now().workers == 2


def test_an_operator_overrides_the_plan_for_good_and_may_ask_again():
    found = wish(PLAN)
    found.ask(2)
    found.take(started())
    found.take(observed(60))
    assert found.now() == Wanted(2, "asked for by an operator", 1)
    found.ask(1)
    assert found.now().workers == 1


def test_who_asks_again_for_the_same_number_is_heard_again():
    found = wish("")
    found.ask(2)
    first = found.now()
    found.ask(2)
    assert found.now() != first


@pytest.mark.parametrize("workers", [-1, 0, 4, 10**20])
def test_a_number_outside_the_limits_is_refused_with_both(workers):
    found = wish("", most=2)
    with pytest.raises(ConfigError, match=r"workers.min = 1 and workers.max = 3.* ask for 1 to 2"):
        found.ask(workers)


def test_more_than_this_machine_holds_is_refused():
    found = wish("", most=2)
    with pytest.raises(ConfigError, match="3 workers do not fit on this machine, 2 do"):
        found.ask(3)
    assert found.now().workers == 1
