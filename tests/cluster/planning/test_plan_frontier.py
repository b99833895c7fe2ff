"""Which choices are shown, and that they hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_journal import EPOCHS, GROWING, NUM_TRAIN, journal, seconds

from absa.errors import CheckpointError, ConfigError, MeasurementError
from absa.policy.batch_plan import batch_plan
from absa.policy.interval import Interval
from cluster.planning.find import cut_to, plan_of
from cluster.planning.frontier import MOST_ROWS, Row, undominated
from cluster.planning.measured import Stage
from cluster.planning.options import Options

_PLAN = batch_plan(64, 1, bn_group=None, most_micro=64)


def row(time_s: float, hours: float) -> Row:
    return Row(
        1, Interval(time_s, time_s, time_s), Interval(hours, hours, hours), _PLAN, measured=True
    )


def true_seconds(workers: int) -> float:
    """The growing run, then at its last batch to the end of its epochs."""
    left = (EPOCHS - len(GROWING) / 2) * NUM_TRAIN
    done = sum(NUM_TRAIN / 2 / batch * seconds(batch, workers) for batch, _ in GROWING)
    return done + left / 1024 * seconds(1024, workers)


@given(st.lists(st.tuples(st.floats(1, 9), st.floats(1, 9)), min_size=1, max_size=12))
def test_no_choice_is_beaten_in_time_and_money(pairs):
    rows = [row(*pair) for pair in pairs]
    kept = undominated(rows)
    for one in kept:
        assert not any(
            other.time_s.value < one.time_s.value
            and other.worker_hours.value < one.worker_hours.value
            for other in rows
        )
    times = [one.time_s.value for one in kept]
    assert times == sorted(times, reverse=True)
    assert min(times) == min(pair[0] for pair in pairs)


@given(
    st.lists(st.tuples(st.integers(1, 999), st.floats(0.1, 99)), min_size=1, max_size=5),
    st.floats(1, 1e6),
)
def test_stages_are_cut_to_the_samples_that_are_asked_for(pairs, total):
    cut = cut_to([Stage(*pair) for pair in pairs], total)
    assert sum(one.global_batch * one.num_updates for one in cut) == pytest.approx(total)
    assert [one.global_batch for one in cut] == [batch for batch, _ in pairs][: len(cut)]


@pytest.mark.cpu_heavy
def test_the_time_of_measured_workers_is_predicted(write_run):
    plan = plan_of(str(write_run(journal(GROWING))), Options(), "nowhere")
    assert plan.done == pytest.approx(0.5)
    for one in plan.frontier.rows[:2]:
        assert one.measured
        assert one.time_s.value == pytest.approx(true_seconds(one.workers), rel=0.05)


def test_the_intervals_hold_the_truth_beyond_what_was_measured(write_run):
    plan = plan_of(str(write_run(journal(GROWING))), Options(workers=8), "nowhere")
    rows = plan.frontier.rows
    assert rows[-1].workers == 8
    for one in rows:
        assert one.time_s.lower < true_seconds(one.workers) < one.time_s.upper
        assert one.worker_hours.value == pytest.approx(one.time_s.value * one.workers / 3600)
    widths = [math.log(one.time_s.upper / one.time_s.lower) for one in rows if not one.measured]
    assert widths == sorted(widths)


@pytest.mark.cpu_heavy
def test_a_finished_run_is_planned_as_far_as_it_came(write_run):
    folder = write_run(journal(GROWING, ended="target"))
    plan = plan_of(str(folder), Options(), "nowhere")
    assert plan.done == 1.0
    assert sum(s.global_batch * s.num_updates for s in plan.stages) == 10 * NUM_TRAIN


@pytest.mark.cpu_heavy
def test_a_job_is_planned_by_the_runs_of_the_same_model(write_run, write_job):
    write_run(journal([(64, 1)] * 9, seed=1), day=1)
    write_run(journal(GROWING), day=2)
    write_run(journal([(64, 64)] * 9), day=3, job="model: {name: mlp}\nstop: {epochs: 1}\n")
    plan = plan_of(str(write_job()), Options(), "nowhere")
    assert [run.name.split("-")[1] for run in plan.runs] == ["20260102", "20260101"]
    assert plan.done is None
    assert plan.model.seen.workers == (1, 2)
    assert plan.frontier.rows[0].time_s.value == pytest.approx(true_seconds(1), rel=0.05)


@pytest.mark.cpu_heavy
def test_runs_on_another_device_than_the_newest_say_nothing(write_run, write_job):
    for day, device in ((1, "cuda:0"), (2, "cpu")):
        records = journal([(64, day)] * 3)
        records[0]["device"] = device
        write_run(records, day=day)
    plan = plan_of(str(write_job()), Options(), "nowhere")
    assert plan.model.seen.workers == (2, 2)
    assert len(plan.runs) == 1


def test_a_job_that_was_never_trained_gets_what_is_known_and_what_to_do(write_job):
    path = write_job()
    with pytest.raises(MeasurementError) as caught:
        plan_of(str(path), Options(workers=3), "nowhere")
    message = str(caught.value)
    assert "holds no run of this model" in message
    assert "3: 1 x" not in message
    assert "2: 2 x 1 x 32 = 64" in message
    assert f"absa train {path} --set stop.updates=200" in message


def test_a_run_that_timed_nothing_says_so(write_run):
    folder = write_run(journal([(64, 1)])[:1])
    with pytest.raises(MeasurementError, match="has not recorded it"):
        plan_of(str(folder), Options(), "nowhere")


def test_what_is_no_run_and_what_is_no_job_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no run"):
        plan_of("nothing", Options(), str(tmp_path))
    with pytest.raises(ConfigError):
        plan_of(str(tmp_path / "missing.yaml"), Options(), str(tmp_path))


@pytest.mark.cpu_heavy
def test_overrides_change_the_job_of_a_run(write_run):
    options = Options(("workers.price_per_hour=3", "stop.epochs=40"))
    plan = plan_of(str(write_run(journal(GROWING))), options, "nowhere")
    assert plan.price == 3
    assert plan.done == pytest.approx(0.25)


@pytest.mark.cpu_heavy
def test_many_workers_are_thinned_to_one_screen_with_the_one_that_pays(write_run):
    plan = plan_of(str(write_run(journal(GROWING))), Options(workers=512), "nowhere")
    rows = plan.frontier.rows
    assert len(rows) <= MOST_ROWS
    assert plan.frontier.staffing.pays in [one.workers for one in rows]
    assert np.all(np.diff([one.time_s.value for one in rows]) < 0)


@pytest.mark.parametrize(
    ("how", "named"),
    [({"workers": 0}, "--workers is 0"), ({"floor": 0.0}, "--floor is 0"), ({"floor": 2.0}, "2")],
)
def test_wrong_options_are_refused(how, named):
    with pytest.raises(ConfigError, match=named):
        Options(**how)
