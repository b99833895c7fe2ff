import pytest
from membership_group import LIMITS, group, published, report

from absa.errors import ResizeError
from cluster.elastic.protocol.coordinator import (
    Kill,
    Start,
    advance,
    died,
    hung_up,
    next_deadline_s,
    reported,
    restarted,
    started,
    wish,
)
from cluster.elastic.protocol.messages import Announcement, Status


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
