import math

import numpy as np
import pytest
import torch
from dense_operator import DenseOperator, with_eigenvalues
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.curvature.random_vectors import signs
from absa.curvature.trace import trace
from absa.errors import MeasurementError

VALUES = [9.0, 4.0, 4.0, 1.0, 0.5, 0.0, 0.0, -0.1, -2.0, -3.0]


@settings(max_examples=25)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), st.integers(2, 5))
def test_a_diagonal_has_no_spread(diagonal, num_probes):
    operator = DenseOperator(torch.tensor(diagonal, dtype=torch.float64).diag())

    found = trace(operator, num_probes)

    scale = sum(map(abs, diagonal)) + 1e-300
    assert found.value == pytest.approx(sum(diagonal), abs=1e-12 * scale)
    assert found.standard_error <= 1e-12 * scale
    assert found.num_products == operator.num_products == num_probes


def test_the_mean_over_seeds_is_the_trace_and_the_standard_error_is_its_spread():
    operator = with_eigenvalues(VALUES)
    off_diagonal = operator.matrix - operator.matrix.diag().diag()
    spread = math.sqrt(2 * float(off_diagonal.square().sum()) / 8)

    found = [trace(operator, 8, seed=seed) for seed in range(200)]

    values = np.array([each.value for each in found])
    errors = np.array([each.standard_error for each in found])
    assert abs(values.mean() - sum(VALUES)) < 4 * spread / math.sqrt(200)
    assert values.std() == pytest.approx(spread, rel=0.15)
    assert math.sqrt((errors**2).mean()) == pytest.approx(spread, rel=0.15)
    # Student's t with 7 degrees of freedom: 95 % lie within 2.36 standard errors.
    assert (abs(values - sum(VALUES)) < 2.36 * errors).mean() == pytest.approx(0.95, abs=0.04)


def test_probes_are_those_of_the_seed_and_never_of_the_training():
    operator = with_eigenvalues(VALUES)
    before = torch.get_rng_state()

    first, again, other = (trace(operator, 4, seed=seed) for seed in (1, 1, 2))

    assert torch.equal(torch.get_rng_state(), before)
    assert first == again != other
    by_hand = [float(z @ operator.matrix @ z) for z in (signs(operator, 1, i) for i in range(4))]
    assert first.value == pytest.approx(np.mean(by_hand), rel=1e-12)


@pytest.mark.parametrize("num_probes", [-1, 0, 1])
def test_one_probe_has_no_standard_error(num_probes):
    with pytest.raises(MeasurementError, match="at least 2"):
        trace(with_eigenvalues(VALUES), num_probes)


def test_what_is_not_finite_is_no_trace():
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[1, 1] = math.inf

    with pytest.raises(MeasurementError, match="not finite"):
        trace(DenseOperator(matrix), 4)
