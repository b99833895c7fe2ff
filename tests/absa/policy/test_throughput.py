import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import MeasurementError
from absa.policy.interval import Interval
from absa.policy.throughput import Load, Seen, ThroughputModel, update_seconds

few = settings(max_examples=40)

_cost = st.floats(1e-6, 10.0)
_parameters = st.tuples(*[_cost] * 7, st.floats(1.0, 10.0))


@st.composite
def _loads(draw):
    workers, passes = draw(st.integers(1, 64)), draw(st.integers(1, 8))
    nodes = draw(st.integers(1, workers))
    return Load(workers, nodes, draw(st.integers(passes, 10_000)), passes)


def seconds(parameters, load):
    return float(update_seconds(np.array([parameters], float), [load])[0, 0])


def naive(parameters, load):
    alpha_c, beta_c, alpha_r, beta_r, alpha_n, beta_n, step, gamma = parameters
    accumulate = alpha_c + beta_c * load.worker_batch / load.accumulation_steps
    if load.nodes > 1:
        net = alpha_n + beta_n * max(load.workers - 2, 0)
    elif load.workers > 1:
        net = alpha_r + beta_r * max(load.workers - 2, 0)
    else:
        net = 0.0
    last = (accumulate**gamma + net**gamma) ** (1 / gamma)
    return step + (load.accumulation_steps - 1) * accumulate + last


def model(*rows, misfit=0.01, confidence=0.9):
    seen = Seen((1, 2), (32.0, 64.0), (1, 1), (True, False), 100, 2)
    return ThroughputModel(np.array(rows, float), misfit, 1e7, seen, confidence)


@few
@given(_parameters, _loads())
def test_an_update_takes_what_the_formula_says(parameters, load):
    assert seconds(parameters, load) == pytest.approx(naive(parameters, load), rel=1e-9)


@few
@given(_parameters, _loads(), st.integers(1, 1000))
def test_more_samples_take_no_less_time(parameters, load, more):
    larger = Load(load.workers, load.nodes, load.worker_batch + more, load.accumulation_steps)
    assert seconds(parameters, larger) >= seconds(parameters, load)


@few
@given(_parameters, _loads())
def test_the_sum_over_workers_costs_between_nothing_and_its_whole(parameters, load):
    alone = seconds(parameters, Load(1, 1, load.worker_batch, load.accumulation_steps))
    whole = seconds((*parameters[:7], 1.0), load)
    assert alone * (1 - 1e-9) <= seconds(parameters, load) <= whole * (1 + 1e-9)


def test_extreme_costs_do_not_overflow():
    assert seconds((1e300, 0, 1e300, 0, 0, 0, 0, 1.0), Load(2, 1, 8, 1)) == pytest.approx(2e300)
    assert seconds((1e200, 0, 1e-200, 0, 0, 0, 0, 10.0), Load(2, 1, 8, 1)) == pytest.approx(1e200)
    assert seconds((0, 0, 0, 0, 0, 0, 0, 1.0), Load(2, 1, 8, 1)) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ((0, 1, 8, 1), "0 workers"),
        ((2, 3, 8, 1), "3 nodes"),
        ((2, 0, 8, 1), "0 nodes"),
        ((1, 1, 8, 0), "0 passes"),
        ((1, 1, 3, 4), "3 samples in 4 passes"),
    ],
)
def test_impossible_loads_are_refused(numbers, named):
    with pytest.raises(MeasurementError, match=named):
        Load(*numbers)


def test_an_interval_holds_the_middle_of_the_draws():
    rows = [(0.1 * k, 0, 0, 0, 0, 0, 0, 1) for k in range(1, 102)]
    found = model(*rows, misfit=1e-9).update_s(Load(1, 1, 64, 1))
    assert found.value == pytest.approx(5.1)
    assert (found.lower, found.upper) == (pytest.approx(0.6), pytest.approx(9.6))


def test_the_error_of_the_model_widens_what_all_draws_agree_on():
    found = model((1, 0, 0, 0, 0, 0, 0, 1)).update_s(Load(1, 1, 64, 1))
    assert math.log(found.upper / found.value) == pytest.approx(1.645 * 0.01, rel=1e-3)
    assert math.log(found.value / found.lower) == pytest.approx(1.645 * 0.01, rel=1e-3)


@pytest.mark.parametrize("load", [Load(8, 1, 64, 1), Load(2, 1, 256, 1), Load(2, 1, 256, 4)])
def test_beyond_what_was_seen_the_error_of_the_model_grows(load):
    found = model((1, 0, 0, 0, 0, 0, 0, 1)).update_s(load)
    assert math.log(found.upper / found.lower) == pytest.approx(
        2 * 1.645 * 0.01 * math.sqrt(3), rel=1e-2
    )


def test_seconds_become_a_rate_with_their_ends_exchanged():
    assert Interval(1.0, 2.0, 4.0).inverse(8.0) == Interval(2.0, 4.0, 8.0)
    assert Interval(1.0, 2.0, 4.0).scaled(2.0) == Interval(2.0, 4.0, 8.0)
