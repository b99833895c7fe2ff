"""Every operator's products against the dense matrix, however the samples are cut."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from curvature_problems import (
    NETWORKS,
    Patchy,
    cross_entropies,
    cut,
    dense_hessian,
    make_problem,
    numbers,
    of_numbers,
)
from engine import run_ranks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from absa.curvature.forward_over_reverse import HessianForward
from absa.curvature.gauss_newton import GaussNewton
from absa.curvature.hessian import Hessian
from absa.curvature.problem import Problem
from absa.curvature.vectors import flatten
from absa.errors import MeasurementError, TaskError

HESSIANS = [Hessian, HessianForward]
OPERATORS = [*HESSIANS, GaussNewton]


def some_vectors(dim: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, dim, generator=generator, dtype=torch.float64)


def products(operator) -> torch.Tensor:
    """Return the matrix times some vectors, one per row; a wrong entry cannot hide from them."""
    with operator:
        return torch.stack([operator.product(vector) for vector in some_vectors(operator.dim)])


def weighted(problem: Problem) -> Problem:
    return replace(problem, weights=lambda batch: batch["weight"])


def on_ranks(operator, problem: Problem, shares: list[list[int]]) -> list[torch.Tensor]:
    """Return what each rank gets when rank r has those passes of the problem."""

    def work(rank):
        passes = [problem.passes[number] for number in shares[rank.rank]]
        model = copy.deepcopy(problem.model)
        mine = operator(replace(problem, model=model, passes=passes, collective=rank))
        with mine:
            gradient, num_samples = mine.gradient, mine.num_samples
            found = [mine.product(vector) for vector in some_vectors(mine.dim)]
        assert num_samples == sum(len(batch["y"]) for batch in problem.passes)
        # One sum on entering and one for each product.
        assert rank.sizes == [mine.dim + 2] + [mine.dim] * len(found)
        return torch.stack([gradient, *found])

    return run_ranks(len(shares), work)


@pytest.mark.parametrize("operator", HESSIANS)
@pytest.mark.parametrize("name", NETWORKS)
def test_products_are_those_of_the_dense_hessian(operator, name):
    problem = make_problem(name)
    dense = dense_hessian(problem)

    torch.testing.assert_close(products(operator(problem)), some_vectors(len(dense)) @ dense)


@pytest.mark.parametrize("name", NETWORKS)
def test_gauss_newton_products_are_those_of_the_dense_matrix(name):
    problem = make_problem(name)
    (batch,) = problem.passes
    output = of_numbers(replace(problem, losses=lambda model, batch: model(batch["x"])))
    vector = numbers(problem.model)
    jacobian = torch.autograd.functional.jacobian(output, vector).flatten(0, 1)
    loss = lambda z: F.cross_entropy(z, batch["y"])  # noqa: E731
    curvature = torch.autograd.functional.hessian(loss, output(vector))
    dense = jacobian.T @ curvature.reshape(len(jacobian), -1) @ jacobian

    torch.testing.assert_close(products(GaussNewton(problem)), some_vectors(len(dense)) @ dense)


@pytest.mark.parametrize("operator", OPERATORS)
def test_linear_regression_has_the_matrix_of_its_inputs(operator):
    x = torch.randn(7, 4, dtype=torch.float64)
    model = nn.Linear(4, 1, bias=False).double()
    problem = Problem(model, lambda model, x: 0.5 * (model(x)[:, 0] - 1) ** 2, [x])

    torch.testing.assert_close(products(operator(problem)), some_vectors(4) @ (x.T @ x / 7))


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_gradient_is_that_of_the_mean_loss(operator):
    problem = weighted(make_problem())
    (batch,) = problem.passes
    losses = problem.losses(problem.model, batch)
    mean = (losses * batch["weight"]).sum() / batch["weight"].sum()
    expected = flatten(torch.autograd.grad(mean, list(problem.model.parameters())))

    with operator(cut(problem, 1, 4)) as measured:
        torch.testing.assert_close(measured.gradient, expected)


@pytest.mark.parametrize("operator", OPERATORS)
def test_samples_weigh_what_they_should_however_they_are_cut(operator):
    problem = weighted(make_problem())
    whole = products(operator(problem))

    if operator is not GaussNewton:
        dense = dense_hessian(problem)
        torch.testing.assert_close(whole, some_vectors(len(dense)) @ dense)
    torch.testing.assert_close(products(operator(cut(problem, 1, 4))), whole)


@pytest.mark.parametrize("operator", OPERATORS)
def test_ranks_with_unequal_shares_get_the_bits_of_one_another(operator):
    problem = weighted(make_problem())
    alone = operator(problem)
    with alone:
        expected = torch.stack([alone.gradient, *map(alone.product, some_vectors(alone.dim))])

    first, *others = on_ranks(operator, cut(problem, 1, 3), [[0, 2], [], [1]])

    torch.testing.assert_close(first, expected)
    assert all(torch.equal(first, other) for other in others)


@settings(max_examples=8)
@given(
    name=st.sampled_from(["perceptron", "ghost", "tied", "patchy"]),
    borders=st.sets(st.integers(1, 5)).map(sorted),
    data=st.data(),
)
def test_no_cut_into_passes_and_ranks_changes_the_products(name, borders, data):
    problem = make_problem(name)
    num_passes = len(borders) + 1
    owners = data.draw(st.lists(st.integers(0, 1), min_size=num_passes, max_size=num_passes))
    shares = [[i for i, owner in enumerate(owners) if owner == rank] for rank in (0, 1)]

    found = on_ranks(Hessian, cut(problem, *borders), shares)

    torch.testing.assert_close(found[0][1:], products(Hessian(problem)))
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_matrix_is_symmetric_and_linear(operator):
    problem = make_problem("tied")
    a, b, _ = some_vectors(numbers(problem.model).numel())
    with operator(problem) as measured:
        torch.testing.assert_close(a @ measured.product(b), b @ measured.product(a))
        together = measured.product(2 * a - b)
        torch.testing.assert_close(together, 2 * measured.product(a) - measured.product(b))


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_products_result_is_a_new_vector(operator):
    with operator(make_problem("patchy")) as measured:
        vector = some_vectors(measured.dim)[0].requires_grad_()
        given = vector.detach().clone()
        first = measured.product(vector)
        before = first.clone()
        assert not torch.equal(measured.product(-vector), before)

    assert torch.equal(first, before)
    assert not first.requires_grad
    assert torch.equal(vector, given)


@pytest.mark.parametrize("operator", HESSIANS)
def test_a_loss_that_is_linear_in_all_parameters_has_no_curvature(operator):
    model = nn.Linear(4, 1).double()
    problem = Problem(model, lambda model, x: model(x)[:, 0], [torch.randn(3, 4).double()])

    assert not products(operator(problem)).any()
    assert not products(GaussNewton(problem)).any()


@pytest.mark.parametrize("operator", OPERATORS)
def test_memory_format_does_not_change_the_vectors(operator):
    problem = make_problem("convolutional")
    expected = products(operator(problem))
    problem.model.to(memory_format=torch.channels_last)

    torch.testing.assert_close(products(operator(problem)), expected)


@pytest.mark.parametrize("operator", OPERATORS)
def test_what_is_not_finite_is_returned_as_it_is(operator):
    problem = make_problem()
    problem.passes[0]["x"][0, 0] = float("nan")
    with operator(problem) as measured:
        assert measured.gradient.isnan().any()
        assert measured.product(torch.ones_like(measured.gradient)).isnan().any()


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_problem_can_be_entered_again_after_the_model_has_changed(operator):
    problem = make_problem()
    measured = operator(problem)
    before = products(measured)
    with torch.no_grad():
        next(problem.model.parameters()).mul_(1.5)

    after = products(measured)

    assert not torch.equal(before, after)
    assert torch.equal(after, products(operator(problem)))


def test_operators_measure_inside_of_their_with_block_only():
    operator = Hessian(make_problem())
    vector = torch.ones(operator.dim, dtype=operator.dtype, device=operator.device)
    with operator:
        operator.product(vector)

    for use in (lambda: operator.gradient, lambda: operator.product(vector)):
        with pytest.raises(MeasurementError, match="with Hessian"):
            use()


def test_a_vector_of_another_model_is_refused():
    with Hessian(make_problem()) as operator, pytest.raises(MeasurementError, match="must be flat"):
        operator.product(torch.ones(3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 2).requires_grad_(False), "parameters are none"),
        (nn.Linear(2, 2).bfloat16(), "torch.bfloat16 on cpu"),
        (nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), "float32 on cpu and"),
        (nn.Sequential(nn.DataParallel(nn.Linear(2, 2))), "pass the bare model"),
    ],
)
def test_a_model_without_one_vector_of_parameters_is_refused(model, message):
    with pytest.raises(MeasurementError, match=message):
        Hessian(Problem(model, cross_entropies, []))


def test_frozen_parameters_may_have_any_type():
    model = nn.Sequential(Patchy().double(), nn.Linear(3, 2).bfloat16().requires_grad_(False))

    assert Hessian(Problem(model, cross_entropies, [])).dtype == torch.float64


@pytest.mark.parametrize("passes", [[], [{"x": torch.ones(2, 4), "y": torch.zeros(2)}]])
def test_samples_of_no_weight_are_refused(passes):
    problem = Problem(
        nn.Linear(4, 3),
        lambda model, batch: model(batch["x"])[:, 0],
        passes,
        weights=lambda batch: torch.zeros(2),
    )

    with pytest.raises(MeasurementError, match="weigh 0 in all"), Hessian(problem):
        pass


@pytest.mark.parametrize(
    "losses",
    [
        lambda model, x: model(x).sum(),
        lambda model, x: model(x).flatten(),
        lambda model, x: model(x)[:, 0].detach(),
        lambda model, x: [0.0, 0.0],
    ],
)
@pytest.mark.parametrize("operator", OPERATORS)
def test_losses_that_are_not_one_per_sample_are_refused(operator, losses):
    problem = Problem(nn.Linear(2, 2), losses, [torch.ones(3, 2)])

    with pytest.raises(TaskError, match=r"task\.losses returned"), operator(problem):
        pass


def test_weights_that_are_not_one_per_sample_are_refused():
    problem = replace(make_problem(), weights=lambda batch: torch.ones(2))

    with pytest.raises(TaskError, match=r"task\.weights returned"), Hessian(problem):
        pass


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


def connectionist(model, x):
    logits = model(x).expand(4, 3, 2)
    one, four = torch.ones(3).long(), torch.full((3,), 4)
    return F.ctc_loss(logits.log_softmax(-1), one[:, None], four, one, reduction="none")


class Scaled(nn.Linear):
    def forward(self, x):
        return Once.apply(super().forward(x))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(
    ("model", "losses"),
    [
        (Scaled(2, 1), lambda model, x: model(x).square()[:, 0]),
        (nn.Linear(2, 2), connectionist),
    ],
    ids=["once_differentiable", "not_implemented"],
)
def test_an_operation_without_second_derivative_is_named_with_advice(operator, model, losses):
    problem = Problem(model, losses, [torch.ones(3, 2)])

    message = "cannot differentiate twice: .* Use another operation"
    with pytest.raises(MeasurementError, match=message), operator(problem) as measured:
        measured.product(measured.gradient)


def test_other_errors_of_torch_stay_what_they_are():
    problem = replace(make_problem(), losses=lambda model, batch: batch["x"] @ torch.ones(9))

    with pytest.raises(RuntimeError), Hessian(problem):
        pass


def test_a_pass_without_tensors_is_refused():
    problem = replace(make_problem(), passes=[{"x": "text", "n": torch.tensor(3)}])

    with pytest.raises(MeasurementError, match="without a tensor"), Hessian(problem):
        pass


def test_samples_are_counted_in_any_nesting():
    model = nn.Linear(2, 2)
    nested = [{"name": "a", "parts": (torch.tensor(9), [torch.ones(3, 2)])}]
    losses = lambda model, batch: model(batch["parts"][1][0])[:, 0]  # noqa: E731

    with Hessian(Problem(model, losses, nested)) as operator:
        assert operator.num_samples == 3
