import math

import numpy as np
import pytest
import torch
from dense_curvature import DenseCurvature, network_curvature, with_spectrum
from thread_ranks import on_ranks

from absa.curvature.trace import trace
from absa.errors import MeasurementError


def test_the_trace_of_a_diagonal_matrix_is_exact():
    found = trace(DenseCurvature(torch.diag(torch.tensor([5.0, -2.0, 0.5]))), 2)
    assert (found.value, found.standard_error, found.num_products) == (3.5, 0, 2)


def test_the_mean_over_many_probes_is_the_trace():
    operator = network_curvature()
    found = trace(operator, 200)
    assert abs(found.value - float(operator.matrix.trace())) < 4 * found.standard_error
    # Twice the sum of the squares off the diagonal is the variance of one probe.
    off = operator.matrix - torch.diag(operator.matrix.diagonal())
    expected = math.sqrt(2 * float((off**2).sum()) / 200)
    assert found.standard_error == pytest.approx(expected, rel=0.25)


def test_the_standard_error_covers_the_truth_as_often_as_it_should():
    operator = with_spectrum([20.0, 5.0, *np.linspace(-1, 1, 28)])
    truth = float(operator.matrix.trace())
    found = [trace(operator, 32, seed=seed) for seed in range(20)]
    within = sum(abs(f.value - truth) < 2 * f.standard_error for f in found)
    assert within >= 16


def test_the_probes_depend_on_the_seed_alone():
    operator = network_curvature()
    before = torch.get_rng_state()
    assert trace(operator, 3, seed=1) == trace(operator, 3, seed=1) != trace(operator, 3, seed=2)
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_return_the_numbers_of_the_first():
    matrix = network_curvature().matrix
    found = on_ranks(
        2, lambda rank: trace(DenseCurvature(matrix * (1 + rank.rank)), 4, collective=rank)
    )
    assert found[0] == found[1] == trace(DenseCurvature(matrix), 4)


def test_one_probe_is_too_few():
    with pytest.raises(MeasurementError, match="at least 2"):
        trace(network_curvature(), 1)


def test_a_product_that_is_not_finite_is_no_trace():
    with pytest.raises(MeasurementError, match="not finite"):
        trace(DenseCurvature(torch.full((2, 2), math.nan)), 2)
