"""The clock that the coordinator goes by."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.elastic.awake_clock import LONGEST_S, AwakeClock

GAPS = st.lists(st.floats(0.0, 100.0), max_size=20)


@given(GAPS)
def test_it_goes_with_time_as_long_as_it_is_read_and_stands_still_otherwise(gaps):
    time_s = [100.0]
    clock = AwakeClock(lambda: time_s[0])
    began_s = clock.now_s()
    for gap in gaps:
        before_s = clock.now_s()
        time_s[0] += gap
        passed_s = clock.now_s() - before_s
        assert abs(passed_s - min(gap, LONGEST_S)) < 1e-9
    assert abs(clock.now_s() - began_s - sum(min(gap, LONGEST_S) for gap in gaps)) < 1e-6
