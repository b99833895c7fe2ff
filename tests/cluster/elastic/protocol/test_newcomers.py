"""How many workers are asked for, how long they are waited for, and what if they do not come."""

from membership_group import LIMITS, group, live, notes, published, report, says

from cluster.elastic.protocol.coordinator import (
    Coordinator,
    Kill,
    Start,
    advance,
    died,
    next_deadline_s,
    started,
    wish,
)
from cluster.elastic.protocol.messages import Announcement

TRAINING = says(1, "training", 0, lineage=0)


def beginning(wanted: int, least: int, *ready: int) -> Coordinator:
    """Return a group of which some workers were ready at time 1 and one is still to come."""
    state, _ = wish(Coordinator(LIMITS, 0, least), wanted, 0.0)
    for worker in ready:
        state, _ = started(state, worker, 0.1)
        state, actions = report(state, worker, "ready", -1, 1.0)
        assert published(actions) == []
    return state


def test_the_first_generation_is_announced_when_all_are_ready() -> None:
    state = group(2)
    assert state.announcement == Announcement(0, 0, (1, 2), restores=True, breaks=False)


def test_the_first_generation_waits_longer_than_one_that_grows() -> None:
    state = beginning(3, 1, 1, 2)
    _, actions = live(state, 2.0, 9.0, says(1, "ready", -1), says(2, "ready", -1))
    assert actions == ()


def test_the_first_generation_begins_without_those_who_do_not_come() -> None:
    state = beginning(3, 2, 1, 2)
    assert next_deadline_s(state) == 3.5
    state, actions = live(state, 2.0, 10.0, says(1, "ready", -1), says(2, "ready", -1))
    assert published(actions) == [Announcement(0, 0, (1, 2), restores=True, breaks=False)]
    assert notes(actions) == [
        "1 of 3 wanted workers did not come within 10 s; they are asked for again in 30 s"
    ]
    assert Start(1) not in actions


def test_the_first_generation_never_begins_with_fewer_than_the_least() -> None:
    state = beginning(3, 2, 1)
    state, actions = live(state, 2.0, 45.0, says(1, "ready", -1))
    assert published(actions) == []
    assert actions.count(Start(2)) == 4
    assert len(notes(actions)) == 1  # the journal is told once
    state, _ = started(state, 2, 45.5)
    _, actions = report(state, 2, "ready", -1, 46.0)
    assert published(actions) == [Announcement(0, 0, (1, 2), restores=True, breaks=False)]


def test_nothing_is_said_of_the_very_first_workers_that_start_slowly() -> None:
    state = beginning(2, 2)
    state, actions = advance(state, LIMITS.start_s + 1)
    assert actions == (Start(2),)


def test_the_first_generation_begins_although_newcomers_are_lost_again_and_again() -> None:
    state, newcomer, begun = beginning(2, 1, 1), 10, False
    for now_s in range(2, 12):
        state, _ = started(state, newcomer, now_s)
        state, more = died(state, newcomer, now_s + 0.5)
        state, actions = report(state, 1, "ready", -1, now_s + 0.6)
        begun = begun or bool(published((*more, *actions)))
        newcomer += 1
    assert begun


def test_a_newcomer_joins_in_a_planned_generation() -> None:
    state, actions = wish(group(1), 2, 3.0)
    assert actions == (Start(1),)
    state, _ = started(state, 7, 3.1)
    state, actions = report(state, 7, "ready", -1, 4.0)
    assert published(actions) == [Announcement(1, 0, (1, 7), restores=False, breaks=False)]


def test_those_who_are_ready_wait_a_little_for_the_others() -> None:
    state, _ = wish(group(1), 3, 3.0)
    for worker in (7, 8):
        state, _ = started(state, worker, 3.1)
    state, actions = report(state, 7, "ready", -1, 4.0)
    assert published(actions) == []
    assert next_deadline_s(state) == 4.5  # worker 1 would be silent for too long by then
    state, _ = report(state, 1, "training", 0, 4.4, lineage=0)
    state, actions = advance(state, 5.0)
    assert [a.members for a in published(actions)] == [(1, 7)]


def test_a_wish_withdrawn_while_newcomers_warm_up_ends_them() -> None:
    state, _ = wish(group(1), 2, 3.0)
    state, _ = started(state, 7, 3.1)
    state, actions = wish(state, 1, 3.2)
    assert Kill(7) in actions
    assert published(actions) == []


def test_a_wish_that_is_lowered_while_newcomers_warm_up_keeps_those_that_are_ready() -> None:
    state, _ = wish(group(1), 3, 3.0)
    for worker in (7, 8):
        state, _ = started(state, worker, 3.1)
    state, _ = report(state, 8, "ready", -1, 3.5)
    state, actions = wish(state, 2, 3.6)
    assert Kill(7) in actions
    assert published(actions) == [Announcement(1, 0, (1, 8), restores=False, breaks=False)]


def test_a_wish_that_is_lowered_before_workers_have_come_asks_for_fewer() -> None:
    state, _ = wish(group(1), 4, 3.0)
    assert state.num_starting == 3
    state, actions = wish(state, 2, 3.1)
    assert (state.num_starting, actions) == (1, ())
    state, actions = wish(state, 3, 3.2)
    assert (state.num_starting, actions) == (2, (Start(1),))


def test_newcomers_that_never_come_are_given_up_with_a_reason() -> None:
    state, _ = wish(group(1), 3, 3.0)
    state, _ = report(state, 1, "training", 0, 12.9, lineage=0)
    state, actions = advance(state, 13.0)
    assert notes(actions) == [
        "2 of 3 wanted workers did not come within 10 s; they are asked for again in 30 s"
    ]
    assert Start(2) not in advance(state, 14.0)[1]
    assert Start(1) in wish(state, 2, 14.0)[1]


def test_those_who_did_not_come_are_asked_for_again_later_and_the_journal_is_told_once() -> None:
    state, _ = wish(group(1), 3, 3.0)
    _, actions = live(state, 3.1, 160.0, TRAINING, moving=1)
    assert actions.count(Start(2)) == 2  # asked until 13, from 43 to 53, and from 113 to 123
    assert len(notes(actions)) == 1


def test_a_smaller_shortage_is_told_as_well() -> None:
    state, _ = wish(group(1), 3, 3.0)
    state, actions = live(state, 3.1, 44.1, TRAINING, moving=1)
    state, _ = started(state, 7, 45.0)
    state, _ = report(state, 7, "ready", -1, 45.1)
    state, _ = advance(state, 46.2)
    state, _ = report(state, 1, "training", 1, 46.5, lineage=0)
    state, _ = report(state, 7, "training", 1, 46.5, lineage=0)
    training = [says(worker, "training", 1, lineage=0) for worker in (1, 7)]
    state, more = live(state, 47.0, 56.0, *training, moving=1)
    assert [text[:8] for text in notes((*actions, *more))] == ["2 of 3 w", "1 of 3 w"]


def test_newcomers_that_are_lost_one_after_the_other_are_not_asked_for_at_once() -> None:
    state, actions = wish(group(1), 2, 3.0)
    for worker in (7, 8, 9):
        assert Start(1) in actions
        state, _ = started(state, worker, 3.1)
        state, actions = died(state, worker, 3.2)
    assert notes(actions) == [
        "3 newcomers in a row were lost before they could join; they are asked for again in 30 s"
    ]
    assert Start(1) not in actions
    _, actions = live(state, 3.3, 34.3, TRAINING, moving=1)
    assert Start(1) in actions


def test_a_newcomer_that_joins_ends_the_row_of_lost_ones() -> None:
    state, _ = wish(group(1), 3, 3.0)
    for worker in (7, 8):
        state, _ = started(state, worker, 3.1)
        state, _ = died(state, worker, 3.2)
    assert state.num_lost == 2
    state, _ = started(state, 9, 3.3)
    state, _ = report(state, 9, "ready", -1, 3.4)
    state, _ = advance(state, 4.4)
    assert state.num_lost == 0


def test_workers_are_asked_for_again_as_long_as_nobody_trains() -> None:
    state, _ = wish(Coordinator(LIMITS, 0), 1, 0.0)
    _, actions = advance(state, 10.0)
    assert Start(1) in actions
