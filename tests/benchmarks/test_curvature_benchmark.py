"""The pieces of the benchmark of curvature, on matrices and losses whose answers are known."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from absa.curvature.hessian import Hessian
from absa.curvature.problem import Problem
from absa.data.config import DataConfig
from absa.models.config import ModelConfig
from absa.tasks.image_classification import ImageClassification
from benchmarks.curvature import __main__ as command
from benchmarks.curvature.cases import Case, cases
from benchmarks.curvature.decisions import ASKED, Agreement, agreement, falls
from benchmarks.curvature.frontier import (
    TOLERANCE,
    Spot,
    Truth,
    cheapest_power,
    cold,
    cold_spots,
    error,
)
from benchmarks.curvature.iterations import (
    Arpack,
    Setting,
    converged,
    eigsh,
    lanczos,
    leading,
    power,
    random_start,
    stopped,
)
from benchmarks.curvature.methods import (
    Answer,
    Estimate,
    Measurement,
    asked,
    by_curvlinops,
    by_pyhessian,
    cold_power,
    follow,
    ours,
    tracker,
)
from benchmarks.curvature.rows import decision_rows, frontier_rows, method_rows, sampling_rows
from benchmarks.curvature.samples import gradient, problem
from benchmarks.curvature.sampling import Sampled, SamplingErrors, spread_out
from benchmarks.curvature.synthetic import LowRank, Shape, shape_of, synthetic_agreement, walk
from benchmarks.curvature.tables import decision_table, frontier_table, sampling_table
from benchmarks.curvature.training import train


def losses(model, batch):
    return F.cross_entropy(model(batch["image"]), batch["label"], reduction="none")


class Toy:
    """A task of 60 points in three classes."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.image = torch.randn(60, 4, generator=generator)
        self.label = torch.randint(3, (60,), generator=generator)
        self.losses = losses

    def build_model(self):
        torch.manual_seed(0)
        return torch.nn.Linear(4, 3)

    def datasets(self):
        return type("Datasets", (), {"train": self})

    def __len__(self):
        return len(self.image)

    def fetch(self, indices, keys):
        return {"image": self.image[indices], "label": self.label[indices]}

    def transform(self, batch):
        return batch


@pytest.fixture
def toy():
    task = Toy()
    return problem(task, task.build_model(), num=20)


def top_eigenvalue(of):
    (batch,) = of.passes

    def loss(weight, bias):
        return F.cross_entropy(F.linear(batch["image"], weight, bias), batch["label"])

    blocks = torch.autograd.functional.hessian(loss, tuple(of.model.parameters()))
    rows = [[b.reshape(left.numel(), -1) for b in row] for row, left in _with(of, blocks)]
    dense = torch.cat([torch.cat(row, dim=1) for row in rows])
    return float(torch.linalg.eigvalsh(dense)[-1])


def _with(of, blocks):
    return zip(blocks, of.model.parameters(), strict=True)


def diagonal(*values):
    vectors = torch.eye(40)[: len(values)]
    return LowRank(torch.tensor(values, dtype=torch.float32), vectors)


def test_cold_starts_come_to_the_largest_value_and_count_their_products():
    matrix = diagonal(5.0, 3.0, 1.0, -4.0)
    start = random_start(matrix, 0)
    assert list(lanczos(matrix, start))[-1] == pytest.approx(5.0, rel=1e-5)
    assert next(itertools.islice(power(matrix, start), 99, None)) == pytest.approx(5.0, rel=1e-3)
    assert leading(matrix, start, 4)[:2] == pytest.approx([5.0, 3.0], rel=0.1)
    estimate, vector = eigsh(matrix, start, Arpack(1e-4))
    assert estimate.value == pytest.approx(5.0, rel=1e-5)
    assert abs(float(vector[0])) == pytest.approx(1.0, rel=1e-3)
    assert 4 <= estimate.num_products <= 40
    estimate, vector = converged(matrix, vector + 0.01 * start, 1e-3)
    assert estimate.value == pytest.approx(5.0, rel=1e-3)
    assert estimate.num_products <= 4


def test_power_iteration_stops_with_the_estimate_before_two_that_are_alike():
    quotients = [1.0, 2.0, 3.0, 3.001, 3.0011]
    assert stopped(quotients, Setting(5, 1e-2)) == Estimate(3.0, 4)
    assert stopped(quotients, Setting(2, 1e-2)) == Estimate(2.0, 2)
    assert stopped(quotients, Setting(5, 0.0)) == Estimate(3.0011, 5)


@pytest.mark.parametrize("setting", [Setting(100, 1e-3), Setting(3, 0.0)])
def test_our_power_iteration_is_pyhessians(toy, setting):
    pytest.importorskip("pyhessian")
    found = by_pyhessian(setting)(toy).estimate
    torch.manual_seed(0)
    start = torch.cat([torch.randn(p.shape).flatten() for p in toy.model.parameters()])
    with Hessian(toy) as operator:
        mine = stopped(power(operator, start), setting)
    assert found.num_products == mine.num_products
    assert found.value == pytest.approx(mine.value, rel=1e-4)
    assert all(parameter.grad is None for parameter in toy.model.parameters())


# What curvlinops imports still uses torch.jit.script.
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
def test_all_methods_measure_the_same_hessian(toy):
    pytest.importorskip("curvlinops")
    exact = top_eigenvalue(toy)
    for method in (
        ours(tracker()),
        asked(tracker()),
        cold_power(Setting(100, 1e-4)),
        by_curvlinops(Arpack(1e-4, 6)),
    ):
        assert method(toy).estimate.value == pytest.approx(exact, rel=0.02)


def test_methods_are_followed_over_the_points_in_turns(toy):
    states = [
        {name: factor * value for name, value in toy.model.state_dict().items()}
        for factor in (1.0, 1.1, 1.2)
    ]
    seen = []

    def method(name):
        def measure(of):
            seen.append(name)
            return Answer(Estimate(of.model.weight[0, 0].item(), 1))

        return measure

    found = follow(states, toy, {"a": method("a"), "b": method("b")})
    assert "".join(seen) == "abbaab"
    weights = [float(state["weight"][0, 0]) for state in states]
    assert [each.answer.estimate.value for each in found["a"]] == weights
    assert all(each.gradients > 0 for each in found["b"])
    (series, *_) = cold(states, toy, power, 4)
    assert len(series.values) == 4
    assert list(series.gradients) == sorted(series.gradients)


def test_gradient_that_prices_are_counted_in_is_that_of_the_mean_loss():
    task = Toy()
    of = problem(task, task.build_model(), num=20)
    cut = Problem(of.model, losses, [task.fetch(range(i, i + 10), None) for i in (0, 10)])
    whole = task.fetch(range(20), None)
    mean = torch.autograd.grad(losses(of.model, whole).mean(), list(of.model.parameters()))
    for mine, exact in zip(gradient(cut), mean, strict=True):
        torch.testing.assert_close(mine, exact)


def test_falls_are_counted_from_the_last_fall():
    assert falls([8.0, 5.0, 4.0, 3.0, 2.0, 9.0]) == [False, False, True, False, True, False]


def test_early_late_and_missed_falls_are_told_apart():
    truth = [False, False, True, False, True, False]
    early = [False, True, False, False, True, False]
    late = [False, False, False, True, False, False]
    assert agreement(truth, truth) == Agreement(6, 6, 0, 2, 2, 0)
    assert agreement(early, truth) == Agreement(6, 4, 1, 2, 2, -1)
    assert agreement(late, truth) == Agreement(6, 3, 0, 2, 1, 1)
    assert agreement(early, truth) + agreement(late, truth) == Agreement(12, 7, 1, 4, 3, 0)


def test_cheapest_power_iteration_is_the_shortest_of_those_exact_enough():
    quotients = [[1.0, 2.0, 2.9, 2.99, 3.0], [1.0, 2.5, 2.95, 3.0, 3.0]]
    setting = cheapest_power(quotients, [3.0, 3.0], wanted=0.04)
    assert setting is not None
    assert [stopped(each, setting).num_products for each in quotients] == [3, 3]
    assert cheapest_power(quotients, [4.0, 4.0], wanted=0.04) is None


def test_errors_below_that_of_the_reference_are_not_told_apart():
    assert error(1.0, 1.0) == TOLERANCE
    assert error(0.9, 1.0) == pytest.approx(0.1)


def test_synthetic_matrices_turn_as_far_as_asked_and_know_their_values():
    shape = Shape(spectrum=(40.0, 20.0, -5.0), overlap=0.6)
    matrices = list(walk(shape, points=30, seed=0))
    cosines = [abs(float(a.vectors[0] @ b.vectors[0])) for a, b in itertools.pairwise(matrices)]
    assert float(np.median(cosines)) == pytest.approx(0.6, abs=0.03)
    last = matrices[-1]
    vector = last.vectors[1]
    torch.testing.assert_close(last.product(vector), last.values[1] * vector, atol=1e-5, rtol=1e-3)
    assert shape_of([4.0, 2.0], [matrix.vectors[0] for matrix in matrices]) == Shape(
        (4.0, 2.0), pytest.approx(np.median(cosines), rel=1e-4)
    )


def test_synthetic_walks_are_decided_by_all_methods():
    shape = Shape(spectrum=(40.0, 20.0, 10.0, -5.0), overlap=0.8)
    found = synthetic_agreement(shape, 8, tracker(), {"power": Setting(20, 1e-4)}, seed=1)
    assert set(found) == {"ours", ASKED, "power"}
    assert all(each.points == 8 for each in found.values())
    assert found["ours"].agree >= 7


def test_steady_bias_of_few_samples_cancels_in_the_change():
    many = Sampled(100, ((4.0, 2.0),), 1.0)
    few = Sampled(10, ((5.0, 2.5), (4.0, 1.0)), 0.1)
    other = Sampled(20, ((4.0, 2.2),), 0.2)
    errors = SamplingErrors((few, other), many)
    assert errors.of_value(few) == pytest.approx([0.25, 0.25, 0.0, -0.5])
    assert errors.of_change(few) == pytest.approx([0.0, -0.5])
    rows = sampling_rows("net", errors, default=10)
    assert [row.peer_name for row in rows] == ["N = 20", "N = 20"]
    assert rows[0].ours == pytest.approx(25.0)
    assert "| 100 | 2 | +0.0 |" in sampling_table(errors)


def test_points_of_the_reference_are_spread_over_the_run():
    assert spread_out(10, 1) == [9]
    assert spread_out(10, 2) == [0, 9]
    assert spread_out(9, 3) == [0, 4, 8]


def measurement(value, seconds):
    return Measurement(Answer(Estimate(value, 3)), seconds, gradient_s=0.1)


def test_bars_are_on_the_largest_error_the_share_of_time_and_the_price_at_equal_error():
    exact = [Truth(1.0, torch.zeros(1), 9)] * 3
    found = {
        "ours": [measurement(9.0, 9.0), measurement(0.99, 0.3), measurement(0.94, 0.5)],
        "peer": [measurement(9.0, 9.0), measurement(0.99, 6.0), measurement(0.94, 6.0)],
    }
    failed = method_rows("case", found, exact, epoch_s=100.0, judged="peer", equal="peer")
    assert {row.metric: (row.aim, row.met) for row in failed} == {
        "numerical error, %": ("ours <= 5", False),
        "products": (None, None),
        "gradients": ("<= 0.1", True),
        "share of an epoch, %": ("ours <= 1", True),
    }
    plain = method_rows("case", found, exact, epoch_s=100.0)
    assert {row.aim for row in plain} == {None}


def test_false_growth_is_judged_on_what_a_job_decides_by():
    found = {ASKED: Agreement(10, 9, 0, 2, 2, 1), "peer": Agreement(10, 8, 2, 2, 2, -2)}
    agree, early = decision_rows("case", found)
    assert (agree.ours, agree.peer, agree.met) == (90.0, 80.0, None)
    assert (early.ours, early.peer, early.met) == (100.0, 80.0, True)
    assert "| peer | 10 | 8 | 2 of 2 | 2 | -0.5 |" in decision_table(found, 0.5)


def test_frontier_compares_at_equal_price(toy):
    exact = [Truth(top_eigenvalue(toy), torch.zeros(15), 9)] * 2
    series = cold([toy.model.state_dict()] * 2, toy, lanczos, 5)
    spots = cold_spots("cold Lanczos", series, exact)
    assert [spot.products for spot in spots] == [1, 2, 3, 4, 5]
    assert spots[0].error > spots[-1].error
    mine = Spot("ours, max_products 2", 2, 1e-4, 1e-4, gradients=math.inf)
    (row,) = frontier_rows("case", [mine], {"cold Lanczos": spots})
    assert row.peer == pytest.approx(100 * spots[-1].error)
    assert "| ours, max_products 2 | 2 |" in frontier_table([mine, *spots])


@pytest.mark.cpu_heavy
def test_points_of_a_run_are_copies_that_a_plain_model_takes():
    config = ModelConfig(name="small_cnn")
    task = ImageClassification(DataConfig(name="digits"), config, seed=0)
    run = train(Case("small_cnn", 1, 3, (32,), None, 0, None), task)
    assert run.updates == (1, 2, 3)
    assert run.update_s > 0
    model = task.build_model()
    weights = []
    for point in run.points:
        model.load_state_dict(point)
        weights.append(next(model.parameters()).detach().clone())
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize("size", ["quick", "usual", "full"])
def test_every_run_has_points_to_follow_and_distinct_samples(size):
    for case in cases(size):
        assert case.points >= 3
        assert len(set(case.samples)) == len(case.samples)
        assert case.sampling is None or case.samples[0] in case.sampling.sizes
        if size != "quick" and case.sampling is not None:
            assert case.sampling.reference >= 10_000


def test_missing_peers_are_named_with_the_way_to_get_them(monkeypatch, capsys):
    monkeypatch.setattr(command, "PEERS", False)
    assert command.main([]) == 2
    assert "curvlinops" in capsys.readouterr().err
