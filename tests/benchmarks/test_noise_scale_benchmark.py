"""What the benchmark of the noise scale says, on problems so small that it can be checked."""

import json
import math
import statistics
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from absa.collective import ALONE
from absa.data.config import DataConfig
from absa.models.config import ModelConfig
from absa.noise_scale.average import NoiseAverage, NoiseWindow
from absa.noise_scale.estimate import Estimate, estimate
from absa.order import SampleOrder
from absa.tasks.image_classification import ImageClassification
from benchmarks.measure import Arguments, Table, report
from benchmarks.noise_scale import __main__ as command
from benchmarks.noise_scale import accuracy, cost, course, direct, verdict
from benchmarks.noise_scale.engine import ALL_ALIKE, Listening, Updates, build
from benchmarks.noise_scale.peers import averaged, differences, two_batches
from benchmarks.noise_scale.ranks import on_ranks
from benchmarks.noise_scale.regression import (
    DIMENSIONS,
    POPULATION,
    Exact,
    Regression,
    Update,
    draw,
    updates,
)
from benchmarks.noise_scale.thinning import BATCHES, norms, said

PROBLEM = draw(seed=1, num_train=512)
ZERO = np.zeros(DIMENSIONS)


@pytest.mark.parametrize("at", [0.0, 0.3])
def test_exact_values_are_those_of_the_samples_gradients(at):
    w = np.full(DIMENSIONS, at)
    gradients = PROBLEM.gradients(w)
    mean, exact = gradients.mean(0), Exact(PROBLEM)(w)
    assert exact.gradient_sq == pytest.approx(mean @ mean)
    assert exact.trace == pytest.approx(np.square(gradients - mean).sum() / (512 - 1))


def test_population_has_the_noise_scale_of_the_reference():
    exact = Exact(draw(seed=0, num_train=100_000))(ZERO)
    assert exact.gradient_sq == pytest.approx(POPULATION.gradient_sq, rel=0.02)
    assert exact.trace == pytest.approx(POPULATION.trace, rel=0.02)
    assert POPULATION.trace / POPULATION.gradient_sq == 30


def test_network_has_the_gradients_of_the_problem():
    task = Regression(PROBLEM)
    model = task.build_model()
    indices = np.arange(7)
    task.losses(model, task.transform(task.fetch(indices, None))).sum().backward()
    expected = PROBLEM.gradients(ZERO, indices).sum(0)
    np.testing.assert_allclose(model.weight.grad[0].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("micro_batch", "lr"), [(16, 0.0), (32, 0.0), (32, 0.2)], ids=["passes", "halves", "moving"]
)
def test_our_loop_says_what_the_same_updates_say_without_it(micro_batch, lr):
    made = Updates(32, micro_batch, lr=lr)
    listening = Listening(1, window_updates=50, observe_updates=40)
    engine = build(Regression(PROBLEM), made, listening)
    for _ in range(40):
        engine.loop.step()
    (heard,) = engine.kept.observations
    window, average = NoiseWindow(50 * 32, 512), NoiseAverage()
    for update in islice(updates(PROBLEM, SampleOrder(0, 512), (32, 16), lr), 40):
        average = window.step(average, norms(update, 32, looks=True))
    whole = window.scales(average).whole
    assert heard["noise_trace"] == pytest.approx(whole.trace, rel=1e-4)
    assert heard["gradient_sq"] == pytest.approx(whole.gradient_sq, rel=1e-3)
    assert heard["noise_upper"] == pytest.approx(whole.upper, rel=1e-3)


def test_passes_of_an_update_average_to_its_gradient():
    first, second = islice(updates(PROBLEM, SampleOrder(0, 512), (64, 16), 0.1), 2)
    np.testing.assert_allclose(first.passes.mean(0), first.gradient)
    np.testing.assert_allclose(second.weights, -0.1 * first.gradient)


def test_peers_compute_what_their_formulas_say():
    generator = np.random.default_rng(0)
    passes = generator.standard_normal((3, 4, 5))
    seen = [Update(np.zeros(5), each, each.mean(0)) for each in passes]
    for update, found in zip(seen, two_batches(seen, 32), strict=True):
        expected = estimate(norms(update, 32, looks=True))
        assert (found.trace, found.gradient_sq) == pytest.approx(
            (expected.trace, expected.gradient_sq)
        )
    first, _ = differences(seen, 32)
    a, b = seen[0].gradient, seen[1].gradient
    assert first.gradient_sq == pytest.approx(a @ b)
    assert first.trace == pytest.approx(32 * (a - b) @ (a - b) / 2)


def test_averages_are_right_from_the_first_update_on():
    for value in averaged([Estimate(6.0, 2.0)] * 3, 0.99):
        assert (value.trace, value.gradient_sq) == pytest.approx((6.0, 2.0))


def test_batches_divide_the_training_set_because_peers_know_no_short_ones():
    for case in accuracy.CASES:
        assert len(accuracy.drawn(case, 0).y) % case.updates.batch == 0
        # what a quick run makes is read at least once
        assert command.SIZES["quick"].updates % accuracy.READ_UPDATES == 0
    assert all(accuracy.NUM_TRAIN % batch == 0 for batch in BATCHES)


@pytest.mark.parametrize("lr", [0.0, 0.2], ids=["frozen", "moving"])
def test_readings_come_with_the_exact_values_and_the_peers_see_the_same(lr, monkeypatch):
    monkeypatch.setattr(accuracy, "NUM_TRAIN", 512)
    monkeypatch.setattr(accuracy, "NUM_TRAIN_MOVING", 512)
    monkeypatch.setattr(accuracy, "READ_UPDATES", 20)
    window = ALL_ALIKE if lr else 10
    case = accuracy.Case(
        "toy", Updates(32, 16, lr=lr), Listening(1, window_updates=window), accuracy.TWO_BATCHES
    )
    ours = accuracy.our_readings(ALONE, case, 40, [3])
    peers = accuracy.peer_readings(case, 40, [3])
    assert len(ours) == len(peers) == (1 if lr else 2)
    problem = draw(3, 512)
    seen = islice(updates(problem, SampleOrder(3, 512), (32, 16), lr), 40)
    exact = Exact(problem)
    trace = statistics.fmean(exact(update.weights).trace for update in seen)
    for reading in (*ours, *peers):
        assert reading.exact.trace == pytest.approx(trace)
        assert reading.read.trace == pytest.approx(trace, rel=0.3)


def readings(*ratios, seeds=(0, 1)):
    exact = Estimate(60.0, 2.0)
    return [
        accuracy.Reading(seed, Estimate(60.0 * ratio, 2.0), exact, ratio < 1.1)
        for seed in seeds
        for ratio in ratios
    ]


def test_rows_judge_the_mean_error_and_compare_the_errors():
    case = accuracy.CASES[0]
    bias, error = verdict.rows(case, readings(0.9, 1.11), readings(0.8, 1.2))
    assert (bias.ours, bias.peer, bias.ratio) == pytest.approx((30.15, 30.0, 1.005))
    assert (bias.aim, bias.met) == ("0.99 - 1.01", True)
    assert not verdict.bias_row(case, readings(0.9, 1.13)).met
    assert error.peer == pytest.approx(20.0)
    assert error.ratio == pytest.approx(math.sqrt((0.1**2 + 0.11**2) / 2) / 0.2)
    assert error.peer_name == case.peer


def test_table_has_bias_spread_and_coverage():
    case = accuracy.CASES[0]
    (line,) = verdict.table([(case, readings(0.9, 1.12), [])]).rows
    assert line[:3] == (case.name, "ours", 4)
    assert line[3] == pytest.approx(1.0)
    assert line[4] == pytest.approx(0.0)  # both seeds have the same mean
    assert line[-1] == 50.0


def test_fewer_looks_are_never_more_exact_where_the_noise_is_large():
    runs = [said(4, 400, seed) for seed in range(2)]
    assert {every: len(found) for every, found in runs[0].items()} == {1: 1, 2: 1, 5: 1, 10: 1}
    assert all(0.2 < each.gradient_sq < 2 for run in runs for each in run[1])


class Counted(Regression):
    """Counts passes."""

    passes = 0

    def losses(self, model, batch):
        self.passes += 1
        return super().losses(model, batch)


def test_a_settled_loop_looks_once_in_every_so_many_updates():
    task = Counted(PROBLEM)
    made = Updates(32, 32)
    loop = build(task, made, Listening(10), noise=cost.settled(task, made)).loop
    for _ in range(40):
        loop.step()
    assert task.passes == 40 + 4  # one more pass where an update is taken in halves


def test_only_what_a_job_does_by_default_is_judged():
    seconds = {None: [1.0, 1.0], 1: [1.2, 1.2], 2: [1.1, 1.1], 12: [1.02, 1.02]}
    halves = next(c for c in cost.CASES if (c.network, c.way) == (cost.RESNET, "halves"))
    halves = replace(halves, every=(1, 2, 12))
    assert [(r.aim, r.met) for r in cost.rows(halves, seconds)] == [
        (None, None),
        (None, None),
        ("<= 1.01", False),
    ]
    (line,) = cost.price_table([(halves, seconds)]).rows
    assert line[1] == pytest.approx(20.0)
    assert line[-2:] == pytest.approx((cost.DEFAULT_EVERY, 20.0 / cost.DEFAULT_EVERY))
    probe = next(c for c in cost.CASES if c.probe)
    each, default = cost.rows(probe, {None: [1.0], 1: [2.0]})
    assert (each.ratio, each.aim) == (2.0, None)
    assert (default.ratio, default.met) == (
        pytest.approx(1 + 1 / cost.DEFAULT_PROBE),
        default.ratio <= 1.01,
    )
    assert (
        cost.price_table([(probe, {None: [1.0], 1: [2.0]})]).rows[0][-1] == 100 / cost.DEFAULT_PROBE
    )


def test_every_case_is_timed_in_blocks_that_hold_whole_intervals():
    for case in cost.CASES:
        assert all(case.block % every == 0 for every in case.every)
    task, made = Regression(PROBLEM), Updates(32, 32)
    case = replace(cost.CASES[0], block=2, every=(1, 2))
    times = cost.time_blocks(ALONE, task, made, case, rounds=2)
    assert {every: len(seconds) for every, seconds in times.items()} == {None: 2, 1: 2, 2: 2}


def test_check_finds_the_noise_scale_where_the_hessian_is_a_multiple_of_the_identity():
    problem = draw(seed=0, num_train=4096)
    engine = build(Regression(problem), Updates(64, 32), Listening())
    before = engine.replica.model.weight.clone()
    found = direct.check(engine.replica, Updates(64, 32), 0.0)
    assert torch.equal(engine.replica.model.weight, before)
    exact = accuracy.noise_scale(Exact(problem)(ZERO))
    assert found.simple.lower <= exact <= found.simple.upper
    assert found.found.lower <= exact * 1.2
    assert found.found.upper >= exact * 0.8
    assert len(found.cells) == len(direct.Checked.columns)


def test_batches_of_the_check_are_whole_groups_on_both_sides():
    assert direct.around(30.0, 1) == (8, 120)
    assert direct.around(1000.0, 32) == (256, 4000)
    small, big = direct.around(1e6, 32)
    assert small % 32 == big % 32 == 0
    assert 4 * small <= big <= direct.MAX_BATCH


def test_drawn_samples_are_the_same_for_a_seed():
    drawing = direct.drawing(Regression(PROBLEM))
    assert torch.equal(drawing(8, 5)[0], drawing(8, 5)[0])
    assert not torch.equal(drawing(8, 5)[0], drawing(8, -5)[0])


def test_a_training_is_followed_to_its_end():
    training = course.Training("digits", "mlp", course.sgd(64, 0.05, 2), (), (1, 2))
    config = DataConfig(name="digits"), ModelConfig(name="mlp", args={"hidden": [16]})
    seen = course.follow(training, ImageClassification(*config, 0))
    assert seen.observations[-1]["epoch"] > 1.9
    (line,) = course.average_table([seen]).rows
    assert line[0] == "digits, mlp"
    assert line[4] <= line[3]
    assert line[-2:] == (2, 1)
    points = course.course_table([seen]).rows
    assert points[-1][1] == seen.observations[-1]["epoch"]
    assert len(course.group_table([seen]).rows) == 2
    assert course.check_table([seen]).rows == ()


def test_run_average_takes_the_lower_end_where_nothing_more_is_known():
    unresolved = {"noise_scale": None, "noise_lower": 3.0, "noise_upper": None}
    assert course.at_least(unresolved) == 3.0
    assert course.at_least({**unresolved, "noise_scale": 7.0}) == 7.0


def test_trainings_without_data_are_left_out_with_the_reason(monkeypatch, capsys):
    monkeypatch.delenv("ABSA_DATA", raising=False)
    assert command._with_data(course.TRAININGS["quick"]) == []
    assert "data.root is not set" in capsys.readouterr().err


def test_tables_are_printed_and_written(tmp_path, capsys):
    table = Table("Numbers", ("a", "b"), (("x", 1.23456), ("y", None)))
    report("demo", [], Arguments("quick", tmp_path / "out.json"), [table])
    out = capsys.readouterr().out
    assert "Numbers:\n\n| a   | b     |\n| --- | ----- |\n| x   | 1.235 |\n| y   |       |" in out
    (written,) = json.loads((tmp_path / "out.json").read_text())["tables"]
    assert written == {
        "title": "Numbers",
        "columns": ["a", "b"],
        "rows": [["x", 1.23456], ["y", None]],
    }


def rank_sum(collective, value):
    total = torch.tensor([value + collective.rank])
    collective.start_sum(total).wait()
    return total.item()


@pytest.mark.cpu_heavy
def test_ranks_return_what_the_first_one_does():
    assert on_ranks(2, rank_sum, 1) == 3
