from typing import Any

import pytest

from absa.errors import ResizeError
from cluster.elastic.coordinator import (
    Coordinator,
    Kill,
    Limits,
    Note,
    Publish,
    Start,
    advance,
    died,
    hung_up,
    left,
    next_deadline_s,
    reported,
    restarted,
    started,
    wish,
)
from cluster.elastic.messages import Announcement, Phase, Status

LIMITS = Limits(
    lease_s=2,
    margin_s=0.5,
    start_s=10,
    gather_s=1,
    form_s=5,
    suspect_s=0.5,
    stall_s=20,
    retry_s=30,
)


def report(
    state: Coordinator,
    worker: int,
    phase: Phase,
    generation: int,
    now_s: float,
    lineage: int | None = None,
    sequence: int = 0,
    **more: Any,
) -> tuple[Coordinator, tuple[Any, ...]]:
    more = {"update": 3, **more}
    sequence = sequence or int(now_s * 1000)
    status = Status(worker, sequence, now_s, phase, generation, lineage, **more)
    return reported(state, status, now_s)[0]


def group(wanted: int) -> Coordinator:
    """Return a group that trains in generation 0 at time 2."""
    state, actions = wish(Coordinator(LIMITS, 0), wanted, 0.0)
    assert actions == (Start(wanted),)
    for worker in range(1, wanted + 1):
        state, _ = started(state, worker, 0.1)
    for worker in range(1, wanted + 1):
        state, _ = report(state, worker, "ready", -1, 1.0)
    for worker in range(1, wanted + 1):
        state, _ = report(state, worker, "training", 0, 2.0, lineage=0)
    return state


def published(actions: tuple[Any, ...]) -> list[Announcement]:
    return [action.announcement for action in actions if isinstance(action, Publish)]


def test_the_first_generation_is_announced_when_all_are_ready() -> None:
    state = group(2)
    assert state.announcement == Announcement(0, 0, (1, 2), restores=True, breaks=False)


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


def test_a_wish_for_fewer_drops_the_last_ranks_at_the_boundary() -> None:
    _, actions = wish(group(3), 1, 3.0)
    assert published(actions) == [Announcement(1, 0, (1,), restores=False, breaks=False)]


def test_a_wish_withdrawn_while_newcomers_warm_up_ends_them() -> None:
    state, _ = wish(group(1), 2, 3.0)
    state, _ = started(state, 7, 3.1)
    state, actions = wish(state, 1, 3.2)
    assert Kill(7) in actions
    assert published(actions) == []


def test_a_lost_member_breaks_its_generation_and_is_replaced() -> None:
    _state, actions = died(group(2), 1, 3.0)
    assert published(actions) == [Announcement(1, 0, (2,), restores=False, breaks=True)]
    assert Start(1) in actions


def test_when_nobody_has_the_state_a_new_lineage_restores_it() -> None:
    state, actions = died(group(1), 1, 3.0)
    assert published(actions) == []
    state, _ = started(state, 2, 3.1)
    state, actions = report(state, 2, "ready", -1, 4.0)
    assert published(actions) == [Announcement(1, 1, (2,), restores=True, breaks=True)]


def test_survivors_of_one_that_hangs_up_go_on_at_once_and_it_is_ended() -> None:
    _, actions = hung_up(group(2), 1, 3.0)
    assert published(actions) == [Announcement(1, 0, (2,), restores=False, breaks=True)]
    assert Kill(1) in actions
    assert Start(1) in actions


def test_one_that_said_farewell_and_hangs_up_is_no_loss() -> None:
    state, _ = wish(group(2), 1, 3.0)
    state, _ = report(state, 2, "gone", 0, 3.1, lineage=0)
    assert hung_up(state, 2, 3.2) == (state, ())


def test_what_one_that_hung_up_still_says_brings_it_its_dismissal() -> None:
    state, _ = hung_up(group(2), 1, 3.0)
    _, reply = reported(state, Status(1, 9000, 3.1, "training", 0, 0, 3), 3.1)
    assert reply.dismissed


def test_a_silent_member_is_ended_after_its_lease() -> None:
    state = group(2)
    state, _ = report(state, 1, "training", 0, 4.0, lineage=0)
    assert next_deadline_s(state) == 4.5
    state, actions = advance(state, 4.5)
    assert Kill(2) in actions
    assert [a.members for a in published(actions)] == [(1,)]


def test_an_error_without_a_death_forms_the_same_members_anew_after_a_moment() -> None:
    state, actions = report(group(2), 1, "waiting", 0, 3.0, lineage=0)
    assert published(actions) == []
    state, actions = advance(state, 3.5)
    assert published(actions) == [Announcement(1, 0, (1, 2), restores=False, breaks=True)]


def test_a_member_that_was_to_leave_is_kept_when_the_others_are_lost() -> None:
    state, _ = wish(group(2), 1, 3.0)
    _, actions = died(state, 1, 3.1)
    assert published(actions) == [Announcement(2, 0, (2,), restores=False, breaks=True)]


def test_a_leaver_that_is_lost_before_the_boundary_frees_its_peers() -> None:
    state, _ = wish(group(2), 1, 3.0)
    state, actions = died(state, 2, 3.1)
    assert published(actions) == []
    _, actions = advance(state, 3.6)
    assert published(actions) == [Announcement(2, 0, (1,), restores=False, breaks=True)]


def test_a_leaver_that_has_left_disturbs_nobody() -> None:
    state, _ = wish(group(2), 1, 3.0)
    state, _ = left(state, 2, 3.1)
    _, actions = advance(state, 3.6)
    assert published(actions) == []


def test_newcomers_that_never_come_are_given_up_with_a_reason() -> None:
    state, _ = wish(group(1), 3, 3.0)
    state, _ = report(state, 1, "training", 0, 12.9, lineage=0)
    state, actions = advance(state, 13.0)
    notes = [action.text for action in actions if isinstance(action, Note)]
    assert notes == [
        "2 of 3 wanted workers did not come within 10 s; they are asked for again in 30 s"
    ]
    assert Start(2) not in advance(state, 14.0)[1]
    assert Start(1) in wish(state, 2, 14.0)[1]


def test_workers_are_asked_for_again_as_long_as_nobody_trains() -> None:
    state, _ = wish(Coordinator(LIMITS, 0), 1, 0.0)
    _, actions = advance(state, 10.0)
    assert Start(1) in actions


def test_a_status_that_was_overtaken_means_nothing() -> None:
    state = group(1)
    old = report(state, 1, "waiting", 0, 2.1, lineage=0, sequence=1)[0]
    assert old.broken_s is None


def test_a_stranger_is_dismissed_and_a_newcomer_of_a_lost_coordinator_is_not() -> None:
    state = restarted(LIMITS, 2, 1, Announcement(4, 0, (1,), restores=False, breaks=False), 10.0)
    _, reply = reported(state, Status(9, 1, 10.1, "training", 3, 0, 5), 10.1)
    assert reply.dismissed
    (state, _), reply = reported(state, Status(8, 1, 10.1, "ready", -1, None, 0), 10.1)
    assert not reply.dismissed
    assert 8 in state.workers


def test_a_coordinator_that_follows_another_never_uses_a_number_again() -> None:
    newest = Announcement(4, 0, (1, 2), restores=False, breaks=False)
    state = restarted(LIMITS, 2, 1, newest, 10.0)
    state, _ = report(state, 1, "training", 4, 10.1, lineage=0)
    _, actions = died(state, 2, 10.2)
    assert [a.generation for a in published(actions)] == [5]


def test_after_a_restart_a_death_does_not_make_it_forget_who_has_the_state() -> None:
    announcement = Announcement(4, 0, (1, 2, 3), restores=False, breaks=False)
    state = restarted(LIMITS, 3, 1, announcement, 10.0)
    state, actions = died(state, 3, 10.1)
    assert published(actions) == []
    state, actions = report(state, 1, "waiting", 4, 10.2, lineage=0)
    assert published(actions) == []
    state, actions = advance(state, 11.0)
    assert published(actions) == []
    assert (next_deadline_s(state) or 0) > 11.0
    _, actions = report(state, 2, "waiting", 4, 11.1, lineage=0)
    assert published(actions) == [Announcement(5, 0, (1, 2), restores=False, breaks=True)]


def test_after_a_restart_who_says_nothing_is_not_waited_for_without_end() -> None:
    announcement = Announcement(4, 0, (1, 2), restores=False, breaks=False)
    state = restarted(LIMITS, 2, 1, announcement, 10.0)
    state, _ = report(state, 1, "training", 4, 12.4, lineage=0)
    assert next_deadline_s(state) == 12.5
    _, actions = advance(state, 12.5)
    assert Kill(2) in actions
    assert published(actions) == [Announcement(5, 0, (1,), restores=False, breaks=True)]


def test_the_last_words_of_a_dead_newcomer_do_not_bring_it_back() -> None:
    state, _ = wish(group(1), 2, 3.0)
    state, _ = started(state, 7, 3.1)
    state, actions = died(state, 7, 3.5)
    assert actions == (Start(1),)
    status = Status(7, 1, 3.4, "ready", -1, None, 0)
    (state, actions), reply = reported(state, status, 3.6)
    assert (actions, reply.dismissed) == ((), True)
    assert 7 not in started(state, 7, 3.7)[0].workers


def test_a_newcomer_may_speak_before_its_start_is_known() -> None:
    state, _ = wish(group(1), 2, 3.0)
    state, actions = report(state, 7, "ready", -1, 3.2)
    state, actions = started(state, 7, 3.3)
    assert published(actions) == [Announcement(1, 0, (1, 7), restores=False, breaks=False)]


def test_less_than_one_worker_is_refused() -> None:
    with pytest.raises(ResizeError, match="0 workers were wanted"):
        wish(group(1), 0, 3.0)
