from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cluster.report.history import Placed, place, survivors


def record(
    lineage: Any, samples: float | None, time: float | None = 0.0, **keys: Any
) -> dict[str, Any]:
    return {"event": "observation", "lineage": lineage, "samples": samples, "time": time, **keys}


def at(placed: list[Placed]) -> list[tuple[float, float]]:
    return [(one.samples, one.seconds) for one in placed]


def test_later_lineage_supersedes_the_older_one_beyond_its_start() -> None:
    older = [record(0, s, s / 10) for s in (0, 10, 20, 30, 40)]
    newer = [record(1, s, 500 + s / 10) for s in (20, 30)]
    placed = place([*older, *newer])
    assert [one.survives for one in placed] == [True, True, True, False, False, True, True]


def test_third_lineage_may_go_back_before_the_second() -> None:
    records = [
        record(0, 0),
        record(0, 30),
        record(1, 20),
        record(1, 50),
        record(2, 10),
        record(2, 60),
    ]
    assert [one.samples for one in survivors(place(records))] == [0, 10, 60]


def test_time_goes_on_without_the_pause_or_the_abandoned_work() -> None:
    records = [record(0, 0, 100), record(0, 20, 120), record(0, 30, 130)]
    records += [record(1, 20, 9000), record(1, 30, 9015)]
    assert at(survivors(place(records))) == [(0, 0), (20, 20), (20, 20), (30, 35)]


def test_late_records_of_a_replaced_lineage_are_abandoned() -> None:
    records = [record("a", 0), record("a", 10), record("b", 10), record("b", 20), record("a", 15)]
    assert [p.samples for p in survivors(place(records))] == [0, 10, 10, 20]


def test_a_clock_that_is_set_back_and_missing_fields_keep_the_position_before() -> None:
    records = [record(0, 0, 50), record(0, 5, 60), record(0, None, 55), record(0, 7, None)]
    assert at(place(records)) == [(0, 0), (5, 10), (5, 10), (7, 10)]


def test_no_records_place_nowhere() -> None:
    assert place([]) == []


lineages = st.one_of(st.none(), st.integers(0, 3), st.lists(st.integers(), max_size=1))
numbers = st.one_of(st.none(), st.floats(-1e9, 1e9), st.integers(0, 100))


@given(st.lists(st.builds(record, lineages, numbers, numbers), max_size=30))
def test_survivors_never_go_back(records: list[dict[str, Any]]) -> None:
    placed = place(records)
    alive = survivors(placed)
    assert len(placed) == len(records)
    for series in ([one.samples for one in alive], [one.seconds for one in alive]):
        assert series == sorted(series)
