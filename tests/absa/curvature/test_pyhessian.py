"""PyHessian is a peer and an oracle: both must find the same, and it must say what it knows."""

import copy
import math
import sys
from dataclasses import replace

import pytest
import torch
from curvature_problems import cut, dense_hessian, make_problem
from torch import nn

from absa.collective import SingleProcess
from absa.curvature.hessian import Hessian
from absa.curvature.problem import Problem
from absa.curvature.pyhessian import PyHessianTracker
from absa.errors import ConfigError, MeasurementError


class Twins(SingleProcess):
    """Two ranks that hold the same samples."""

    def start_sum(self, tensor):
        return super().start_sum(tensor.mul_(2))


def largest(dense, number):
    """Return the eigenvalues of largest magnitude, the largest first."""
    values = torch.linalg.eigvalsh(dense).tolist()
    return sorted(sorted(values, key=abs)[-number:], reverse=True)


@pytest.mark.parametrize(
    ("name", "top"), [("perceptron", 2), ("ghost", 1), ("tied", 1), ("attention", 2), ("patchy", 2)]
)
def test_it_finds_the_eigenvalues_of_largest_magnitude(name, top):
    problem = make_problem(name)
    expected = largest(dense_hessian(problem), top)

    state, curvature = PyHessianTracker(top, 200, 1e-5).measure(cut(problem, 2, 3), "a state")

    assert curvature.values == pytest.approx(expected, rel=1e-3)
    assert curvature.lower == curvature.value
    assert (curvature.upper, curvature.stopped) == (math.inf, "tolerance")
    assert all(map(math.isnan, curvature.residuals))
    assert (curvature.num_samples, state) == (6, "a state")


def test_its_products_are_ours():
    """It starts at a vector of the seeded random state, so its first estimates are known."""
    problem = make_problem("tied")
    with Hessian(problem) as operator:
        torch.manual_seed(0)
        vector = torch.randn(operator.dim).double()
        for _ in range(3):
            vector /= vector.norm()
            product = operator.product(vector)
            estimate, vector = float(vector @ product), product

    _, curvature = PyHessianTracker(max_products=3, tolerance=1e-12).measure(problem, None)

    assert curvature.value == pytest.approx(estimate, rel=1e-5)
    assert (curvature.num_products, curvature.stopped) == (3, "budget")


def test_it_is_the_mean_over_ranks():
    problem = replace(make_problem(), weights=lambda batch: batch["weight"])
    _, alone = PyHessianTracker().measure(problem, None)
    _, both = PyHessianTracker().measure(replace(problem, collective=Twins()), None)

    assert both.values == pytest.approx(alone.values)
    assert (alone.num_samples, both.num_samples) == (6, 12)


def test_a_negative_eigenvalue_bounds_nothing():
    model = nn.Linear(2, 1, bias=False).double()
    losses = lambda model, x: -(model(x)[:, 0] ** 2)  # noqa: E731
    problem = Problem(model, losses, [torch.tensor([[1.0, 2.0]]).double()])

    _, curvature = PyHessianTracker(tolerance=1e-6).measure(problem, None)

    assert curvature.value == pytest.approx(-10, rel=1e-4)
    assert curvature.lower == -math.inf


def test_a_loss_that_is_linear_in_all_parameters_has_no_curvature():
    losses = lambda model, x: model(x)[:, 0]  # noqa: E731
    problem = Problem(nn.Linear(4, 1), losses, [torch.ones(2, 4)])

    _, curvature = PyHessianTracker().measure(problem, None)

    assert curvature.value == 0


def test_what_is_not_finite_is_no_measurement():
    problem = copy.deepcopy(make_problem())
    problem.passes[0]["x"][0, 0] = float("nan")

    _, curvature = PyHessianTracker().measure(problem, None)

    assert (curvature.values, curvature.stopped) == ((), "not_finite")
    assert math.isnan(curvature.lower)
    assert curvature.num_products == 0


def test_samples_of_no_weight_are_refused():
    with pytest.raises(MeasurementError, match="weigh 0 in all"):
        PyHessianTracker().measure(replace(make_problem(), passes=[]), None)


@pytest.mark.parametrize(
    "arguments", [{"top": 0}, {"top": 3, "max_products": 2}, {"tolerance": 0.0}]
)
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ConfigError, match="PyHessian is to find"):
        PyHessianTracker(**arguments)


def test_a_missing_pyhessian_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyhessian", None)
    with pytest.raises(MeasurementError, match="pip install pyhessian"):
        PyHessianTracker().measure(make_problem(), None)
