import itertools
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from dense_curvature import DenseCurvature, network_curvature, orthogonal, with_spectrum
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_ranks import on_ranks

from absa.curvature.problem import Problem
from absa.curvature.tracker import HessianTracker, TrackerState, measure_operator
from absa.errors import MeasurementError
from absa.signals import FallTest

TRACKER = HessianTracker(lambda problem: network_curvature())
BULK = list(np.linspace(-0.3, 0.3, 48))


def tracking(*columns, spectrum_size=50, seed=0):
    """Return the state of a tracker that has found these eigenvectors of `with_spectrum`."""
    vectors = torch.tensor(orthogonal(spectrum_size)[:, list(columns)].T)
    return TrackerState(vectors.bfloat16(), 3, seed)


def top(operator):
    return float(np.linalg.eigvalsh(operator.matrix.double().numpy())[-1])


def test_a_new_eigenvalue_that_has_overtaken_the_old_one_is_found():
    operator = with_spectrum([4.0, 9.0, *BULK])
    _, found = measure_operator(TRACKER, operator, tracking(0))
    assert found.value == pytest.approx(9.0, rel=0.05)
    assert found.lower <= 9 <= found.upper
    assert found.stopped == "tolerance"


def test_a_warm_start_alone_would_have_stayed_with_the_old_one():
    operator = with_spectrum([4.0, 9.0, *BULK])
    _, found = measure_operator(replace(TRACKER, max_products=1), operator, tracking(0))
    assert found.value == pytest.approx(4.0, rel=1e-3)
    assert found.residuals[0] < 0.1
    assert found.upper == math.inf
    assert found.stopped == "budget"


@pytest.mark.parametrize("seed", range(3))
def test_the_first_measurement_of_a_network_is_exact_to_the_tolerance(seed):
    operator = network_curvature(seed)
    state, found = measure_operator(TRACKER, operator, None)
    assert found.stopped == "tolerance"
    assert 0.95 * top(operator) <= found.value <= top(operator) <= found.upper
    assert found.num_products == operator.num_products <= 10
    assert found.num_samples == 40
    assert (state.num_measurements, state.vectors.shape) == (1, (1, operator.dim))


def test_the_next_measurement_is_cheaper():
    operator = with_spectrum([9.0, 4.0, 3.0, 2.0, *BULK[:46]])
    state, cold = measure_operator(TRACKER, operator, None)
    state, warm = measure_operator(TRACKER, operator, state)
    assert warm.num_products < cold.num_products
    assert warm.num_products <= 5
    assert warm.value == pytest.approx(9.0, rel=1e-3)
    assert state.num_measurements == 2


def test_a_state_in_bfloat16_costs_a_millionth_of_the_value():
    operator = with_spectrum([9.0, 4.0, *BULK])
    _, found = measure_operator(replace(TRACKER, max_products=1), operator, tracking(0))
    assert 0 < 1 - found.value / 9 < 1e-5


@pytest.mark.parametrize("top_k", [2, 3])
def test_several_values_are_found_though_they_are_equal(top_k):
    spectrum = [6.0] * top_k + BULK
    operator = with_spectrum(spectrum)
    tracker = replace(TRACKER, top=top_k)
    states = tracking(*range(top_k), spectrum_size=len(spectrum))
    _, found = measure_operator(tracker, operator, states)
    np.testing.assert_allclose(found.values, [6.0] * top_k, rtol=1e-4)


def test_several_values_are_exact_to_the_tolerance_of_the_largest():
    operator = network_curvature()
    true = np.linalg.eigvalsh(operator.matrix.numpy())[::-1]
    state = None
    for _ in range(3):
        state, found = measure_operator(replace(TRACKER, top=3), operator, state)
        errors = true[:3] - np.array(found.values)
        assert (errors >= -1e-9).all()
        assert (errors <= 0.05 * true[0]).all()
    assert state.vectors.shape == (3, operator.dim)


@pytest.mark.parametrize(
    ("spectrum", "value"),
    [
        ([-1.0, -5.0, -6.0, -6.5, -7.0], -1.0),
        ([2.0, -50.0, -40.0, 0.0, 0.1], 2.0),
        ([0.0] * 6, 0.0),
        ([3.0] * 5, 3.0),
        ([3.0], 3.0),
        ([-3.0], -3.0),
        ([3.0, 1.0], 3.0),
    ],
)
def test_the_largest_algebraic_value_of_any_spectrum_is_found(spectrum, value):
    operator = with_spectrum(spectrum)
    # A seed of which the random vector is not among the 5 % that lie unluckily.
    state, found = measure_operator(replace(TRACKER, seed=1), operator, None)
    assert found.value == pytest.approx(value, rel=0.05, abs=1e-12)
    assert found.lower <= value + 1e-12
    assert found.upper >= value - 1e-12
    assert found.stopped == "tolerance"
    assert torch.isfinite(state.vectors).all()


def test_a_gradient_of_zero_is_no_obstacle():
    operator = with_spectrum([9.0, 4.0, *BULK], gradient=torch.zeros(50, dtype=torch.float64))
    _, found = measure_operator(TRACKER, operator, None)
    assert found.value == pytest.approx(9.0, rel=0.05)


def test_a_complete_basis_says_everything():
    _, found = measure_operator(replace(TRACKER, ceiling=1 + 1e-9), with_spectrum(range(8)), None)
    assert found.stopped == "tolerance"
    assert found.num_products == 8
    assert found.lower == pytest.approx(7, abs=1e-9)
    assert found.upper == pytest.approx(7, abs=1e-9)


def test_a_tight_ceiling_proves_the_value():
    operator = network_curvature()
    _, found = measure_operator(replace(TRACKER, ceiling=1.05), operator, None)
    assert found.upper <= 1.05 * found.value + 1e-9


def test_that_it_has_not_fallen_takes_one_product_when_warm():
    operator = with_spectrum([9.0, 4.0, *BULK])
    _, found = measure_operator(TRACKER, operator, tracking(0), FallTest(10.0))
    assert (found.stopped, found.num_products) == ("not_fallen", 1)
    assert found.lower > 5


def test_the_value_may_be_wanted_whatever_the_answer():
    operator = with_spectrum([9.0, 4.0, *BULK])
    exact = FallTest(10.0, exact=True)
    _, found = measure_operator(TRACKER, operator, tracking(1), exact)
    assert found.stopped == "tolerance"
    assert found.value == pytest.approx(9.0, rel=0.05)
    assert found.lower > exact.level
    _, fallen = measure_operator(TRACKER, operator, tracking(1), FallTest(40.0, exact=True))
    assert fallen.stopped == "fallen"


def test_a_fall_is_proven_by_the_bound():
    operator = with_spectrum([4.0, 2.0, *BULK])
    _, found = measure_operator(TRACKER, operator, tracking(0), FallTest(10.0))
    assert found.stopped == "fallen"
    assert 4 <= found.upper <= 5
    assert found.failure_probability == 0.001


@pytest.mark.parametrize("seed", range(5))
def test_what_has_fallen_is_exact_for_the_next_question(seed):
    operator = with_spectrum([4.0, 3.5, *BULK])
    _, found = measure_operator(TRACKER, operator, tracking(2, seed=seed), FallTest(20.0))
    assert found.stopped == "fallen"
    assert found.value == pytest.approx(4.0, rel=0.05)


def test_an_old_eigenvalue_that_fell_proves_nothing_while_another_is_high():
    operator = with_spectrum([4.0, 9.0, *BULK])
    _, found = measure_operator(TRACKER, operator, tracking(0), FallTest(10.0))
    assert found.stopped == "not_fallen"
    assert found.lower > 5


def test_what_cannot_be_proven_within_the_budget_has_not_fallen():
    operator = with_spectrum([4.0, 2.0, *BULK])
    tracker = replace(TRACKER, max_products=3)
    _, found = measure_operator(tracker, operator, tracking(0), FallTest(10.0))
    assert (found.stopped, found.num_products) == ("budget", 3)


def test_exactly_on_the_level_nothing_is_certain():
    tracker = replace(TRACKER, max_products=50)
    _, found = measure_operator(tracker, with_spectrum([5.0, 1.0, 0.0]), None, FallTest(10.0))
    assert found.stopped == "budget"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_product_that_is_not_finite_measures_nothing(bad, after):
    class Failing(DenseCurvature):
        def product(self, vector):
            product = super().product(vector)
            return product * bad if self.num_products > after else product

    operator = Failing(with_spectrum([9.0, 4.0, *BULK]).matrix)
    state = tracking(2)
    same, found = measure_operator(TRACKER, operator, state)
    assert same is state
    assert (found.stopped, found.values, found.num_products) == ("not_finite", (), after + 1)
    assert math.isnan(found.value)
    assert math.isnan(found.lower)
    assert found.upper == math.inf


def test_a_gradient_that_is_not_finite_measures_nothing():
    operator = with_spectrum([1.0, 2.0], gradient=torch.tensor([math.nan, 1.0]).double())
    state, found = measure_operator(TRACKER, operator, None)
    assert (found.stopped, found.num_products, state.num_measurements) == ("not_finite", 0, 0)
    good = with_spectrum([1.0, 2.0])
    assert measure_operator(TRACKER, good, state)[1].value == pytest.approx(2.0)


def test_the_random_column_is_another_one_each_time_and_leaves_the_global_stream_alone():
    operator = with_spectrum([9.0, 4.0, *BULK])
    before = torch.get_rng_state()
    uppers = {
        measure_operator(TRACKER, operator, replace(tracking(0), num_measurements=n))[1].upper
        for n in range(4)
    }
    assert len(uppers) == 4
    assert torch.equal(before, torch.get_rng_state())


def test_a_measurement_can_be_repeated_to_the_bit():
    operator = network_curvature(dtype=torch.float32)
    runs = [measure_operator(TRACKER, operator, None, clock=lambda: 0.0) for _ in range(2)]
    assert torch.equal(runs[0][0].vectors, runs[1][0].vectors)
    assert runs[0][1] == runs[1][1]


def test_a_state_of_another_model_is_refused():
    with pytest.raises(MeasurementError, match="50 numbers, but 3 parameters"):
        measure_operator(TRACKER, with_spectrum(range(3)), tracking(0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top", 0),
        ("tolerance", 0.0),
        ("max_products", 0),
        ("failure_probability", 0.0),
        ("failure_probability", 0.6),
        ("ceiling", 1.0),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused(name, value):
    with pytest.raises(MeasurementError, match=f"{name} = {value}"):
        replace(TRACKER, **{name: value})


def test_seconds_are_those_of_the_clock():
    clock = itertools.count(10.0, 2.5).__next__
    _, found = measure_operator(TRACKER, with_spectrum(range(3)), None, clock=clock)
    assert found.seconds == 2.5


def test_a_problem_is_measured_through_its_operator():
    operator = network_curvature()
    problem = Problem(torch.nn.Linear(1, 1), lambda model, batch: torch.zeros(1), [])
    tracker = replace(TRACKER, operator=lambda given: operator if given is problem else None)
    assert (
        tracker.measure(problem, None)[1].value
        == measure_operator(TRACKER, operator, None)[1].value
    )


def test_ranks_that_round_differently_leave_with_the_same_bits():
    matrix = network_curvature().matrix.float()

    class Rounding(DenseCurvature):
        """Products as one processor or another would round them."""

        error: float = 0.0

        def product(self, vector):
            return super().product(vector) * (1 + self.error)

    def work(collective):
        operator = Rounding(matrix)
        operator.error = 1e-5 * collective.rank
        clock = itertools.count(0.0, 1.0 + collective.rank).__next__
        state, found = None, []
        for _ in range(3):
            state, one = measure_operator(
                TRACKER, operator, state, collective=collective, clock=clock
            )
            found.append(one)
        return state, found, operator.num_products

    (state, found, num), (other_state, other_found, other_num) = on_ranks(2, work)
    assert torch.equal(state.vectors, other_state.vectors)
    assert found == other_found
    assert num == other_num
    assert [one.seconds for one in found] == [1.0] * 3


def test_a_collective_that_fails_is_not_hidden():
    class GoneError(Exception):
        pass

    class Failing:
        rank, world_size = 0, 2

        def broadcast(self, tensors, source):
            raise GoneError

    with pytest.raises(GoneError):
        measure_operator(TRACKER, with_spectrum(range(4)), None, collective=Failing())
    assert threading.active_count() == 1


small = st.lists(
    st.one_of(st.sampled_from([-4.0, 0.0, 1.0, 4.9, 5.0, 5.1, 9.0]), st.floats(-9, 9)),
    min_size=1,
    max_size=12,
)


def check_question(spectrum, seed, failure_probability, rotation=0):
    """Ask whether a spectrum fell below 5; return whether the answer was wrong."""
    operator = with_spectrum(spectrum, rotation)
    question = FallTest(10.0, failure_probability=failure_probability)
    state = TrackerState(torch.eye(len(spectrum))[:1].bfloat16(), 0, seed)
    _, found = measure_operator(TRACKER, operator, state, question)
    true = max(spectrum)
    assert found.lower <= true + 1e-9
    assert found.value <= true + 1e-9
    if found.stopped == "not_fallen":
        assert true > 5
    if found.stopped != "fallen":
        return False
    return true > 5 + 1e-9


@settings(max_examples=8, deadline=None)
@given(small, st.integers(0, 2**32))
def test_a_fall_that_has_not_been_is_not_reported(spectrum, seed):
    assert not check_question(spectrum, seed, 0.001)


@pytest.mark.soak
def test_falls_that_have_not_been_are_reported_as_rarely_as_stated():
    # Hidden from the state: the largest eigenvalue alone is above the level. 1 % of 2,000 is 20.
    rng, wrong = np.random.default_rng(0), 0
    for trial in range(2000):
        dim = int(rng.integers(2, 30))
        spectrum = [rng.uniform(5.01, 9), *rng.uniform(-5, 4, dim - 1)]
        wrong += check_question(spectrum, trial, 0.01, rotation=trial)
    assert wrong <= 35
