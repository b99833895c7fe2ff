"""When a generation is over, and who is in the next one."""

from membership_group import group, live, published, report, says

from cluster.elastic.protocol.coordinator import (
    Start,
    advance,
    died,
    left,
    next_deadline_s,
    started,
    wish,
)
from cluster.elastic.protocol.messages import Announcement


def test_a_wish_for_fewer_drops_the_last_ranks_at_the_boundary() -> None:
    _, actions = wish(group(3), 1, 3.0)
    assert published(actions) == [Announcement(1, 0, (1,), restores=False, breaks=False)]


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


def test_an_error_without_a_death_forms_the_same_members_anew_after_a_moment() -> None:
    state, actions = report(group(2), 1, "waiting", 0, 3.0, lineage=0)
    assert published(actions) == []
    state, actions = advance(state, 3.5)
    assert published(actions) == [Announcement(1, 0, (1, 2), restores=False, breaks=True)]


def test_each_generation_that_breaks_without_a_death_is_followed_after_a_longer_wait() -> None:
    state, now_s, waits = group(1), 3.0, []
    for generation in range(3):
        state, _ = report(state, 1, "waiting", generation, now_s, lineage=0)
        waits.append((next_deadline_s(state) or 0) - now_s)
        state, actions = advance(state, now_s + waits[-1])
        assert [a.generation for a in published(actions)] == [generation + 1]
        now_s += 2.25
    assert waits == [0.5, 1.0, 2.0]


def test_an_update_makes_the_group_trust_its_generations_again() -> None:
    state, _ = report(group(1), 1, "waiting", 0, 3.0, lineage=0)
    state, _ = advance(state, 3.5)
    assert state.num_broken == 1
    state, _ = report(state, 1, "training", 1, 4.0, lineage=0, update=3)
    assert state.num_broken == 1
    state, _ = report(state, 1, "training", 1, 4.1, lineage=0, update=4)
    assert state.num_broken == 0


def test_members_that_all_wait_while_they_form_are_given_a_new_generation() -> None:
    state, _ = died(group(3), 3, 3.0)
    forming = [says(worker, "forming", 1, lineage=0, waits=True) for worker in (1, 2)]
    state, actions = live(state, 3.1, 7.1, *forming)
    assert published(actions) == []
    _, actions = live(state, 8.1, 8.1, *forming)
    assert published(actions) == [Announcement(2, 0, (1, 2), restores=False, breaks=True)]


def test_members_that_all_wait_while_they_train_are_given_a_new_generation() -> None:
    training = [says(worker, "training", 0, lineage=0, waits=True) for worker in (1, 2)]
    state, actions = live(group(2), 3.0, 22.0, *training)
    assert actions == ()
    _, actions = live(state, 23.0, 23.0, *training)
    assert published(actions) == [Announcement(1, 0, (1, 2), restores=False, breaks=True)]


def test_a_boundary_may_be_far_away() -> None:
    state, _ = wish(group(2), 1, 3.0)
    busy = [says(1, "training", 0, lineage=0), says(2, "training", 0, lineage=0, waits=True)]
    _, actions = live(state, 3.1, 21.1, *busy)
    assert actions == ()


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


def test_one_that_is_wanted_again_while_it_leaves_is_replaced_by_a_newcomer() -> None:
    state, _ = wish(group(2), 1, 3.0)
    state, actions = wish(state, 2, 3.1)
    assert actions == (Start(1),)
    state, _ = started(state, 7, 3.2)
    state, actions = report(state, 7, "ready", -1, 3.3)
    assert published(actions) == []  # the generation without worker 2 is under way
    state, _ = report(state, 2, "gone", 0, 3.4, lineage=0)
    _, actions = report(state, 1, "training", 1, 3.5, lineage=0)
    assert published(actions) == [Announcement(2, 0, (1, 7), restores=False, breaks=False)]


def test_up_and_down_in_quick_succession_costs_no_generation_if_nobody_was_ready() -> None:
    state, actions = group(2), ()
    for wanted in (4, 2, 3, 2):
        state, more = wish(state, wanted, 3.0)
        actions += more
    assert published(actions) == []
    assert state.num_starting == 0


def test_a_wish_for_fewer_while_newcomers_form_waits_until_their_generation_trains() -> None:
    state, _ = wish(group(1), 2, 3.0)
    state, _ = started(state, 7, 3.1)
    state, _ = report(state, 7, "ready", -1, 3.2)
    state, actions = wish(state, 1, 3.3)
    assert published(actions) == []
    state, _ = report(state, 1, "training", 1, 3.4, lineage=0)
    _, actions = report(state, 7, "training", 1, 3.5, lineage=0)
    assert published(actions) == [Announcement(2, 0, (1,), restores=False, breaks=False)]


def test_the_second_rank_becomes_the_first_when_the_first_is_lost() -> None:
    state, _ = died(group(3), 1, 3.0)
    assert state.announcement is not None
    assert state.announcement.members == (2, 3)
