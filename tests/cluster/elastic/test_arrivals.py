from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.elastic.arrivals import Plan, Process, goes_on, is_deserted, places_in_use, plan
from cluster.elastic.orders import Orders

FATES = ("runs", "lost", "raised", "left", "done")


def process(label: str = "?", **values: Any) -> Process:
    return Process(worker=None, place=f"place of {label}", **values)


def orders(missing: int = 0, workers: str = "", end: str = "") -> Orders:
    return Orders(
        missing=missing,
        workers=dict.fromkeys(workers, 0),
        end=frozenset(end),
        members=(),
        generation=0,
    )


def processes(dialled: str = "", coming: str = "", **fates: str) -> dict[str, Process]:
    found = {label: process(label, has_dialled=True) for label in dialled}
    found |= {label: process(label) for label in coming}
    for label, fate in fates.items():
        found[label].fate = fate
    return found


def test_what_is_missing_is_started_once():
    assert plan(orders(2, "a"), processes("a"), "a") == Plan(frozenset(), 2)
    assert plan(orders(2, "a"), processes("a", "bc"), "a") == Plan(frozenset(), 0)


def test_the_first_workers_are_waited_for_before_they_have_dialled_in():
    assert plan(orders(2), processes("", "ab"), "ab") == Plan(frozenset(), 0)


def test_one_that_dials_in_just_now_is_not_taken_for_coming():
    assert plan(orders(0, "ab"), processes("a", "b"), "a") == Plan(frozenset(), 0)


def test_a_wish_withdrawn_ends_the_newest_that_have_not_dialled_in():
    assert plan(orders(1, "ab"), processes("ab", "cde"), "a").end == {"d", "e"}


def test_members_are_not_given_up():
    assert plan(orders(0), processes("", "ab"), "ab") == Plan(frozenset(), 0)


def test_who_failed_on_the_way_is_replaced():
    assert plan(orders(1, "a"), processes("a", "b", b="raised"), "a") == Plan(frozenset("b"), 1)
    assert plan(orders(1, "a", end="b"), processes("a", "b"), "a") == Plan(frozenset("b"), 1)


def test_a_lost_member_is_ended_for_what_it_held_and_one_that_returned_is_kept_for_ray():
    found = processes("abc", b="lost", c="done")
    assert plan(orders(0, "a"), found, "abc").end == {"b"}
    found["b"].was_ended = True
    assert plan(orders(0, "a"), found, "abc").end == frozenset()


@pytest.mark.parametrize("fate", FATES[1:])
def test_nothing_is_started_when_no_member_runs(fate):
    assert plan(orders(3), processes("a", a=fate), "a").start == 0


def test_room_is_free_as_soon_as_its_worker_is_on_its_way_out():
    found = processes("abc", "d")
    found["c"].was_ended = True
    assert places_in_use(orders(0, "a"), found) == ["place of a", "place of d"]


@st.composite
def situations(draw):
    labels = "abcdefgh"[: draw(st.integers(1, 8))]
    found = {
        label: process(
            label,
            fate=draw(st.sampled_from(FATES)),
            has_dialled=draw(st.booleans()),
            was_ended=draw(st.booleans()),
        )
        for label in labels
    }
    members = draw(st.sets(st.sampled_from(labels), min_size=1))
    workers = "".join(label for label in labels if found[label].has_dialled and draw(st.booleans()))
    end = "".join(draw(st.sets(st.sampled_from(labels + "xy"))))
    return orders(draw(st.integers(0, 6)), workers, end), found, members


@given(situations())
def test_once_carried_out_a_plan_asks_for_nothing_more(situation):
    wanted, found, members = situation
    first = plan(wanted, found, members)
    for label in first.end:
        found[label].was_ended = True
    found |= {f"new {number}": process() for number in range(first.start)}
    assert plan(wanted, found, members) == Plan(frozenset(), 0)


@given(situations())
def test_nobody_is_ended_who_runs_and_has_dialled_in_unless_the_orders_say_so(situation):
    wanted, found, members = situation
    for label in plan(wanted, found, members).end - wanted.end:
        assert found[label].fate != "runs" or not found[label].has_dialled


def test_a_group_goes_on_as_long_as_one_runs_and_none_has_raised():
    assert goes_on(["lost", "runs", "left"])
    assert not goes_on(["raised", "runs"])
    assert not goes_on(["lost", "done"])


def test_a_group_is_deserted_when_all_have_left_and_nobody_has_ended_the_run():
    assert is_deserted(["left", "left"])
    assert not is_deserted(["left", "done"])
