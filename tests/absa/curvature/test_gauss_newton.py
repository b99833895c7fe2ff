"""What the matrix demands of a model and its losses; its products: `test_hessian_products.py`."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from curvature_problems import make_problem
from torch import nn

from absa.curvature.gauss_newton import GaussNewton
from absa.curvature.hessian import Hessian
from absa.errors import MeasurementError


def twice(model, batch):
    return (model(batch["x"]) - model(2 * batch["x"])).square().sum(1)


def around_it(model, batch):
    return model[2](torch.tanh(model[0](batch["x"]))).square().sum(1)


def with_decay(model, batch):
    penalty = sum(parameter.square().sum() for parameter in model.parameters())
    return model(batch["x"]).square().sum(1) + penalty


def without_it(model, batch):
    model(batch["x"])
    return model[0].weight.sum() * batch["x"][:, 0]


class Pair(nn.Linear):
    def forward(self, x):
        return super().forward(x), x


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (twice, "called it 2 times"),
        (around_it, "called it 0 times"),
        (with_decay, "past its output"),
        (without_it, "past its output"),
    ],
)
def test_losses_that_are_no_function_of_one_output_are_refused(losses, reason):
    problem = replace(make_problem(), losses=losses)

    with pytest.raises(MeasurementError, match=reason), GaussNewton(problem):
        pass
    assert not problem.model._forward_hooks


@pytest.mark.parametrize("frozen", [False, True])
def test_an_output_that_is_no_differentiable_tensor_is_refused(frozen):
    layer = nn.Linear(4, 3) if frozen else Pair(4, 3)
    layer.requires_grad_(not frozen)
    model = nn.ModuleDict({"layer": layer, "unused": nn.Linear(1, 1)})
    model.forward = lambda x: model["layer"](x)

    def losses(model, batch):
        output = model(batch["x"].float())
        output = output if frozen else output[0]
        return output.square().sum(1) + 0 * model["unused"].weight.sum()

    with (
        pytest.raises(MeasurementError, match="no gradient flows through"),
        GaussNewton(replace(make_problem(), model=model, losses=losses)),
    ):
        pass


def test_losses_may_write_to_the_output():
    problem = make_problem()

    def in_place(model, batch):
        return F.cross_entropy(model(batch["x"]).mul_(2), batch["y"], reduction="none")

    def apart(model, batch):
        return F.cross_entropy(model(batch["x"]) * 2, batch["y"], reduction="none")

    found = []
    for losses in (in_place, apart):
        with GaussNewton(replace(problem, losses=losses)) as operator:
            vector = torch.linspace(-1, 1, operator.dim, dtype=torch.float64)
            found.append(operator.product(vector))
    assert torch.equal(*found)


def test_it_is_the_hessian_where_the_model_is_linear():
    problem = replace(make_problem(), model=nn.Linear(4, 3).double())
    with GaussNewton(problem) as gauss_newton, Hessian(problem) as hessian:
        vector = torch.linspace(-1, 1, hessian.dim, dtype=torch.float64)
        torch.testing.assert_close(gauss_newton.product(vector), hessian.product(vector))


@pytest.mark.parametrize("name", ["perceptron", "tied", "recurrent"])
def test_it_has_no_negative_curvature_under_cross_entropy(name):
    with GaussNewton(make_problem(name)) as operator:
        for vector in torch.randn(5, operator.dim, dtype=torch.float64):
            assert vector @ operator.product(vector) >= -1e-12
