import pytest
from hypothesis import given
from hypothesis import strategies as st

from absa.policy.limits import Limits
from absa.policy.rungs import next_down, next_up, within

limits = st.builds(
    lambda unit, low, more: Limits(unit * (low + more), unit * low, unit),
    st.integers(1, 64),
    st.integers(1, 8),
    st.integers(0, 300),
)
factors = st.floats(1.01, 8)


@given(limits, st.integers(1, 20_000))
def test_a_batch_is_within_the_limits_and_made_of_whole_units(limits, batch):
    found = within(batch, limits)
    assert limits.min_batch <= found <= limits.max_batch
    assert found % limits.unit == 0
    assert found <= max(batch, limits.min_batch)


@given(limits, factors, st.integers(1, 300))
def test_a_growth_grows_unless_the_batch_is_the_largest(limits, factor, units):
    batch = within(units * limits.unit, limits)
    up = next_up(batch, factor, limits)
    assert up <= limits.max_batch
    assert (up > batch) == (batch < limits.max_batch)
    assert up <= max(batch * factor * (1 + 1e-8), batch + limits.unit)


@given(limits, factors, st.integers(1, 300))
def test_what_shrinks_does_not_grow(limits, factor, units):
    batch = within(units * limits.unit, limits)
    assert limits.min_batch <= next_down(batch, factor, limits) <= batch


@pytest.mark.parametrize(
    ("batch", "factor", "up"), [(64, 2, 128), (64, 1.5, 96), (64, 1.1, 96), (512, 4, 1024)]
)
def test_rungs(batch, factor, up):
    assert next_up(batch, factor, Limits(1024, 64, 32)) == up


def test_a_largest_batch_that_is_no_multiple_is_rounded_down():
    assert next_up(64, 2, Limits(100, 64, 32)) == 96


def test_a_batch_above_a_limit_that_was_lowered_stays():
    assert next_up(512, 2, Limits(256, 64, 32)) == 512
