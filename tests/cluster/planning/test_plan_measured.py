"""What is read off a journal, whole, damaged or of another version."""

import math

import pytest
from planning_journal import GROWING, NUM_TRAIN, journal, resolved, seconds

from absa.policy.throughput import Load
from cluster.planning.measured import Stage, read_measured

JOB = resolved()


def test_the_journal_gives_costs_of_how_updates_were_cut():
    found = read_measured(journal([(64, 1), (256, 2), (1024, 2)]), JOB)
    assert [cost.load for cost in found.costs] == [
        Load(1, 1, 64, 1),
        Load(2, 1, 128, 1),
        Load(2, 1, 512, 4),
    ]
    assert [cost.num_updates for cost in found.costs] == [50, 12, 3]
    assert found.costs[0].update_s == pytest.approx(seconds(64, 1), rel=0.15)


def test_batches_become_stages():
    found = read_measured(journal(GROWING), JOB)
    assert found.stages == (Stage(64, 400.0), Stage(256, 100.0), Stage(1024, 12.5))
    assert found.samples == 10 * NUM_TRAIN
    assert found.num_train == NUM_TRAIN


def test_the_noise_scale_is_the_last_one():
    records = journal([(64, 1), (64, 1)])
    records[-2] |= {"noise_scale": None, "noise_lower": 700.0, "noise_upper": None}
    noise = read_measured(records, JOB).noise
    assert (noise.value, noise.lower, noise.upper) == (None, 700.0, math.inf)


def test_updates_that_were_abandoned_still_say_how_long_they_took():
    first, second = journal([(64, 1)] * 3), journal([(64, 1), (64, 2)])
    for record in second:
        record["lineage"] = 1
    found = read_measured([*first, *second], JOB)
    assert len(found.costs) == 5
    assert found.samples == NUM_TRAIN


@pytest.mark.parametrize(
    "damage",
    [
        {"update_s": None},
        {"update_s": 0.0},
        {"update_s": "fast"},
        {"workers": 0},
        {"global_batch": None},
        {"nodes": 9},
        {"update_s": math.nan},
    ],
)
def test_a_damaged_observation_is_left_out(damage):
    records = journal([(64, 1), (64, 1)])
    records[1] |= damage
    assert len(read_measured(records, JOB).costs) == 1


def test_an_empty_journal_says_nothing():
    found = read_measured([], JOB)
    assert (found.costs, found.stages, found.noise, found.num_train) == ((), (), None, None)


@pytest.mark.parametrize(("reason", "finished"), [("epochs", True), ("interrupted", False)])
def test_an_interrupted_run_is_not_finished(reason, finished):
    assert read_measured(journal([(64, 1)], ended=reason), JOB).finished is finished


def test_a_run_that_was_resumed_is_not_finished():
    records = journal([(64, 1)], ended="time")
    resumed = [{**records[0], "lineage": 1, "samples": NUM_TRAIN // 2, "update": 50}]
    assert not read_measured([*records, *resumed], JOB).finished


def test_the_recorded_passes_tell_whether_there_are_batch_norm_groups():
    """256 samples on 3 workers: groups of 32 make 96 samples and 3 passes of 32, single ones 2."""
    records = journal([(256, 3)])
    records[1] |= {"micro_batch": 45, "accumulation_steps": 2}
    assert read_measured(records, JOB).bn_group is None
    records[1] |= {"accumulation_steps": 3}
    assert read_measured(records, JOB).bn_group == 32


def test_where_passes_do_not_tell_the_network_does():
    assert read_measured(journal([(64, 1)]), JOB).bn_group == 32
    assert read_measured(journal([(64, 1)]), resolved("model.name=mlp")).bn_group is None
