import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.report.downsample import keep_changes, keep_extremes

series = st.lists(st.floats(-1e6, 1e6), max_size=300)


@given(values=series, limit=st.integers(4, 60))
def test_extremes_and_ends_are_kept_within_the_limit(values: list[float], limit: int) -> None:
    kept = keep_extremes(values, limit)
    assert kept == sorted(set(kept))
    assert len(kept) <= limit
    if values:
        assert {0, len(values) - 1} <= set(kept)
        assert max(values) == max(values[i] for i in kept)
        assert min(values) == min(values[i] for i in kept)


@given(values=series)
def test_a_short_series_is_kept_whole(values: list[float]) -> None:
    assert keep_extremes(values, max(4, len(values))) == list(range(len(values)))


@pytest.mark.parametrize("spike", [1, 777, 9_998])
def test_a_spike_of_one_point_is_never_lost(spike: int) -> None:
    values = [0.0] * 10_000
    values[spike] = 1.0
    assert spike in keep_extremes(values, 100)


@given(values=st.lists(st.integers(0, 2), max_size=50))
def test_steps_are_drawn_exactly_from_their_changes(values: list[int]) -> None:
    kept = keep_changes(values)
    drawn: list[int] = []
    for index in range(len(values)):
        drawn.append(values[index] if index in kept else drawn[-1])
    assert drawn == values
