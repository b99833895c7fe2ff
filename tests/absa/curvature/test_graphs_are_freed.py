"""How long the graphs of a measurement live; nothing here waits for the garbage collector."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from curvature_problems import cut, make_problem

from absa.curvature.forward_over_reverse import HessianForward
from absa.curvature.gauss_newton import GaussNewton
from absa.curvature.hessian import Hessian
from absa.curvature.pyhessian import PyHessianTracker
from absa.errors import MeasurementError

OPERATORS = [Hessian, HessianForward, GaussNewton]


@pytest.fixture(autouse=True)
def without_collector():
    gc.disable()
    yield
    gc.enable()


def watched(problem):
    """Return the problem and its graphs so far: each lives as long as what it has saved."""
    graphs = []

    def losses(model, batch):
        saved = problem.losses(model, batch).exp()
        graphs.append(weakref.ref(saved))
        return saved.log()

    return replace(problem, losses=losses), graphs


def num_alive(graphs):
    return sum(graph() is not None for graph in graphs)


@pytest.mark.parametrize("operator", [Hessian, GaussNewton])
def test_one_pass_is_built_once_and_freed_on_leaving(operator):
    problem, graphs = watched(make_problem())
    with operator(problem) as measured:
        for _ in range(3):
            measured.product(measured.gradient)
        assert len(graphs) == num_alive(graphs) == 1
    assert num_alive(graphs) == 0


@pytest.mark.parametrize("operator", OPERATORS)
def test_of_several_passes_one_graph_at_a_time_lives(operator):
    problem = cut(make_problem(), 2, 4)

    def losses(model, batch):
        assert num_alive(graphs) == 0
        return watched_losses(model, batch)

    inner, graphs = watched(problem)
    watched_losses = inner.losses
    with operator(replace(problem, losses=losses)) as measured:
        measured.product(measured.gradient)
        assert num_alive(graphs) == 0
    assert len(graphs) == 6


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_error_inside_frees_the_graph(operator):
    problem, graphs = watched(make_problem())
    with pytest.raises(MeasurementError), operator(problem) as measured:
        measured.product(torch.ones(1))
    assert num_alive(graphs) == 0


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_goes_when_nobody_holds_it(operator):
    measured = operator(make_problem())
    with measured:
        measured.product(measured.gradient)
    gone = weakref.ref(measured)
    del measured
    assert gone() is None


def test_pyhessian_leaves_no_graph():
    problem, graphs = watched(cut(make_problem(), 2))
    PyHessianTracker(max_products=2).measure(problem, None)
    assert len(graphs) == 2
    assert num_alive(graphs) == 0
