import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.policy.throughput import Load
from absa.policy.update_costs import UpdateCost, pool

ONE, TWO = Load(1, 1, 64, 1), Load(2, 1, 32, 1)
few = settings(max_examples=40)

_seconds = st.lists(st.tuples(st.floats(1e-6, 1e6), st.integers(1, 9)), min_size=1, max_size=20)


@few
@given(_seconds)
def test_the_pooled_time_is_the_median_over_all_updates(rows):
    pooled = pool([UpdateCost(ONE, seconds, num) for seconds, num in rows])
    repeated = [math.log(seconds) for seconds, num in rows for _ in range(num)]
    assert pooled.log_s[0] == pytest.approx(np.median(repeated))
    assert pooled.num_updates == len(repeated)


def test_each_cut_is_pooled_by_itself():
    pooled = pool([UpdateCost(ONE, 2.0), UpdateCost(TWO, 1.0), UpdateCost(ONE, 2.0)])
    assert pooled.loads == (ONE, TWO)
    assert np.exp(pooled.log_s) == pytest.approx([2.0, 1.0])


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_impossible_times_are_left_out_and_that_is_said(seconds):
    pooled = pool([UpdateCost(ONE, seconds, 5), UpdateCost(ONE, 2.0, 3)])
    assert math.exp(pooled.log_s[0]) == pytest.approx(2.0)
    assert pooled.num_updates == 3
    assert pooled.left_out.startswith("1 of 2 measurements were left out")


def test_a_measurement_of_no_update_is_left_out():
    assert not pool([UpdateCost(ONE, 1.0, 0)]).loads


def test_nothing_measured_is_nothing_known():
    assert pool([]).loads == ()
    assert pool([]).left_out == ""


def test_the_variance_of_a_median_is_found():
    random = np.random.default_rng(0)
    costs = [UpdateCost(ONE, math.exp(x)) for x in 0.1 * random.standard_normal(400)]
    assert pool(costs).variance[0] == pytest.approx(math.pi / 2 * 0.1**2 / 400, rel=0.2)


def test_a_slow_drift_is_not_taken_for_noise_that_averages_out():
    drift = np.linspace(0, 1, 200)
    assert pool([UpdateCost(ONE, math.exp(x)) for x in drift]).variance[0] < 1e-6


def test_one_disturbed_measurement_changes_nothing():
    calm = [UpdateCost(ONE, 1.0 + 0.001 * (i % 3)) for i in range(30)]
    disturbed = [*calm, UpdateCost(ONE, 60.0)]
    assert pool(disturbed).log_s[0] == pytest.approx(pool(calm).log_s[0], abs=0.002)
    assert pool(disturbed).variance[0] < 1e-5
