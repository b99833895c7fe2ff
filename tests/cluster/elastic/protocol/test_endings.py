"""Who is ended, and when."""

from membership_group import group, live, published, report, says

from cluster.elastic.protocol.coordinator import (
    Coordinator,
    Kill,
    advance,
    died,
    next_deadline_s,
    wish,
)
from cluster.elastic.protocol.messages import Announcement


def test_a_silent_member_is_ended_after_its_lease() -> None:
    state = group(2)
    state, _ = report(state, 1, "training", 0, 4.0, lineage=0)
    assert next_deadline_s(state) == 4.5
    state, actions = advance(state, 4.5)
    assert Kill(2) in actions
    assert [a.members for a in published(actions)] == [(1,)]


def test_a_member_that_reports_but_gets_nothing_done_is_ended_and_its_peers_are_not() -> None:
    stuck = says(1, "training", 0, lineage=0)
    waiting = says(2, "training", 0, lineage=0, waits=True)
    state, actions = live(group(2), 3.0, 21.0, stuck, waiting)
    assert actions == ()
    _, actions = live(state, 22.0, 22.0, stuck, waiting)
    assert [a for a in actions if isinstance(a, Kill)] == [Kill(1)]
    assert published(actions) == [Announcement(1, 0, (2,), restores=False, breaks=True)]


def test_a_lone_member_that_gets_nothing_done_is_ended_too() -> None:
    _, actions = live(group(1), 3.0, 22.0, says(1, "training", 0, lineage=0))
    assert Kill(1) in actions


def test_a_member_that_takes_long_is_left_alone_as_long_as_it_gets_something_done() -> None:
    state, actions = group(1), ()
    for now_s in range(3, 100, 10):
        state, more = live(
            state, now_s, now_s + 9, says(1, "training", 0, lineage=0, progress=now_s)
        )
        actions += more
    assert actions == ()


def test_a_member_that_hangs_while_it_forms_is_ended_and_those_who_wait_for_it_are_not() -> None:
    state, _ = died(group(3), 3, 3.0)
    stuck = says(1, "forming", 1, lineage=0)
    waiting = says(2, "forming", 1, lineage=0, waits=True)
    state, actions = live(state, 3.1, 22.1, stuck, waiting)
    assert not [a for a in actions if isinstance(a, Kill)]
    _, actions = live(state, 23.1, 23.1, stuck, waiting)
    assert [a for a in actions if isinstance(a, Kill)] == [Kill(1)]


def test_a_member_that_does_not_give_up_a_broken_generation_is_ended() -> None:
    state, _ = died(group(3), 3, 3.0)
    deaf = says(1, "training", 0, lineage=0, waits=True)
    _, actions = live(state, 3.1, 8.1, deaf, says(2, "forming", 1, lineage=0, waits=True))
    assert [a for a in actions if isinstance(a, Kill)] == [Kill(1)]


def test_one_that_hears_of_a_generation_only_at_a_far_boundary_has_time_to_follow() -> None:
    state, _ = wish(group(2), 1, 3.0)
    busy = [says(worker, "training", 0, lineage=0) for worker in (1, 2)]
    state, _ = live(state, 3.1, 11.1, *busy, moving=1)
    _, actions = report(state, 2, "waiting", 0, 11.5, lineage=0, update=4)
    assert actions == ()


def test_a_leaver_that_never_leaves_is_ended_and_disturbs_nobody() -> None:
    state, _ = wish(group(2), 1, 3.0)
    leaver = says(2, "training", 0, lineage=0, waits=True)
    training = says(1, "training", 1, lineage=0)
    _, actions = live(state, 3.1, 23.1, training, leaver, moving=1)
    assert [a for a in actions if isinstance(a, Kill)] == [Kill(2)]
    assert published(actions) == []


def breaking(state: Coordinator, **blames: int) -> tuple[Coordinator, list[Kill]]:
    """Have all members report again and again that their generation is broken."""
    now_s, kills = 3.0, []
    for _ in range(3):
        newest = state.announcement
        assert newest is not None
        for worker in newest.members:
            blamed = blames.get(f"by_{worker}")
            state, _ = report(
                state, worker, "waiting", newest.generation, now_s, lineage=0, blames=blamed
            )
        state, actions = advance(state, now_s + 2.0)
        kills += [a for a in actions if isinstance(a, Kill)]
        now_s += 2.0
    return state, kills


def test_one_of_two_that_do_not_reach_each_other_is_dropped_for_a_while() -> None:
    state, kills = breaking(group(3), by_1=2, by_2=1)
    assert kills == [Kill(2)]
    assert state.announcement is not None
    assert state.announcement.members == (1, 3)
    assert (state.num_starting, state.retry_s) == (0, 9.0 + 30.0)


def test_whoever_several_do_not_reach_is_dropped() -> None:
    assert breaking(group(4), by_1=2, by_3=2, by_2=1)[1] == [Kill(2)]


def test_the_youngest_is_dropped_if_nobody_can_tell() -> None:
    assert breaking(group(3))[1] == [Kill(3)]


def test_the_one_furthest_ahead_is_never_dropped() -> None:
    state, _ = report(group(2), 2, "training", 0, 2.5, lineage=0, update=4)
    for generation, now_s in ((0, 3.0), (1, 5.0), (2, 7.0)):
        state, _ = report(state, 1, "waiting", generation, now_s, lineage=0, update=3)
        state, _ = report(state, 2, "waiting", generation, now_s, lineage=0, update=4)
        state, actions = advance(state, now_s + 2.0)
    assert [a for a in actions if isinstance(a, Kill)] == [Kill(1)]
    assert published(actions)[0].members == (2,)


def test_the_last_member_is_never_dropped() -> None:
    assert breaking(group(1))[1] == []
