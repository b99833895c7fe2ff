from cluster.elastic.protocol.member import (
    Abort,
    Exit,
    Form,
    Holding,
    Member,
    Restore,
    Train,
    Transfer,
    announced,
    at_boundary,
    cut_off,
    failed,
    formed,
    may_apply,
    replied,
    settled,
    status,
    warmed_up,
)
from cluster.elastic.protocol.messages import Announcement, Reply


def announcement(generation: int, *members: int, restores=False, breaks=False, lineage=0):
    return Announcement(generation, lineage, members, restores, breaks)


def training(worker: int = 1, generation: int = 0, update: int = 7) -> Member:
    member = Member(worker, "ready")
    member, _ = announced(member, announcement(generation, 1, 2, restores=True))
    member, _ = formed(member, generation, {1: None, 2: None})
    member, actions = settled(member, generation, Holding(0, update))
    assert actions == (Train(generation),)
    return member


def test_a_newcomer_forms_the_first_generation_that_has_it() -> None:
    member, actions = announced(Member(3), announcement(0, 1, 2))
    assert (member.phase, actions) == ("warming", ())
    member, actions = warmed_up(member)
    assert (member.phase, actions) == ("ready", ())
    member, actions = announced(member, announcement(1, 1, 2, 3))
    assert (member.phase, actions) == ("forming", (Form(announcement(1, 1, 2, 3)),))


def test_a_planned_generation_waits_for_the_boundary_all_agree_on() -> None:
    member, actions = announced(training(), announcement(1, 1, 2, 3))
    assert (member.phase, actions) == ("training", ())
    member, actions = at_boundary(member, 0, newer=False)
    assert (member.phase, actions) == ("training", ())
    member, actions = at_boundary(member, 0, newer=True)
    assert actions == (Form(announcement(1, 1, 2, 3)),)
    assert member.holding == Holding(0, 9)


def test_a_member_that_hears_of_it_only_at_the_boundary_waits_for_the_announcement() -> None:
    member, actions = at_boundary(training(), 0, newer=True)
    assert (member.phase, actions) == ("waiting", ())
    member, actions = announced(member, announcement(1, 2))
    assert (member.phase, actions) == ("gone", (Exit("left"),))


def test_a_broken_generation_is_given_up_at_once() -> None:
    member, actions = announced(training(), announcement(1, 1, breaks=True))
    assert actions == (Abort(0), Form(announcement(1, 1, breaks=True)))
    assert member.holding == Holding(0, 7)


def test_an_error_counts_once_and_only_in_its_own_generation() -> None:
    member, _ = failed(training(), 0)
    assert member.phase == "waiting"
    assert failed(member, 0) == (member, ())
    member = training(generation=4)
    assert failed(member, 3) == (member, ())


def test_a_member_says_whom_it_did_not_reach_until_it_forms_the_next_generation() -> None:
    member, _ = failed(training(), 0, blames=2)
    assert status(member, 1.0, 0, waits=False)[1].blames == 2
    member, _ = announced(member, announcement(1, 1, 2, breaks=True))
    assert status(member, 1.0, 0, waits=False)[1].blames is None


def test_the_first_rank_may_leave_and_its_peers_take_their_places() -> None:
    leaver, _ = announced(training(1), announcement(1, 2, 3))
    assert at_boundary(leaver, 0, newer=True)[1] == (Exit("left"),)
    stayer, _ = announced(training(2), announcement(1, 2, 3))
    assert at_boundary(stayer, 0, newer=True)[1] == (Form(announcement(1, 2, 3)),)


def test_the_member_furthest_ahead_is_the_source() -> None:
    member, _ = announced(Member(1, "ready"), announcement(1, 1, 2, 3))
    holdings = {1: None, 2: Holding(0, 6), 3: Holding(0, 7)}
    assert formed(member, 1, holdings)[1] == (Transfer(1, 3),)


def test_a_state_of_an_older_lineage_is_no_source() -> None:
    member, _ = announced(Member(1, "ready"), announcement(1, 1, 2, lineage=1))
    assert formed(member, 1, {1: None, 2: Holding(1, 3)})[1] == (Transfer(1, 2),)
    member, actions = formed(member, 1, {1: None, 2: Holding(0, 90)})
    assert (member.phase, actions) == ("waiting", ())


def test_a_generation_that_restores_asks_nobody_for_the_state() -> None:
    member, _ = announced(Member(1, "ready"), announcement(2, 1, restores=True, lineage=1))
    assert formed(member, 2, {1: Holding(0, 5)})[1] == (Restore(2),)


def test_old_announcements_and_results_mean_nothing() -> None:
    member = training(generation=3)
    assert announced(member, announcement(2, 2, breaks=True)) == (member, ())
    assert announced(member, announcement(3, 1, 2)) == (member, ())
    assert at_boundary(member, 2, newer=True) == (member, ())
    assert settled(member, 3, Holding(0, 1)) == (member, ())


def test_an_update_is_applied_only_under_a_lease_counted_from_when_it_was_asked_for() -> None:
    member = training()
    assert not may_apply(member, 0, now_s=0.0)
    member, _ = replied(member, Reply(10.0, None, dismissed=False), lease_s=2.0)
    assert may_apply(member, 0, now_s=11.9)
    assert not may_apply(member, 0, now_s=12.0)
    assert not may_apply(member, 1, now_s=11.0)
    late, _ = replied(member, Reply(5.0, None, dismissed=False), lease_s=2.0)
    assert may_apply(late, 0, now_s=11.9)


def test_a_member_that_is_cut_off_applies_nothing_until_it_is_answered_again() -> None:
    member, _ = replied(training(), Reply(10.0, None, dismissed=False), lease_s=2.0)
    member = cut_off(member)
    assert not may_apply(member, 0, now_s=10.1)
    member, _ = replied(member, Reply(10.2, None, dismissed=False), lease_s=2.0)
    assert may_apply(member, 0, now_s=10.3)


def test_a_dismissed_member_ends_and_stays_ended() -> None:
    member, actions = replied(training(), Reply(0.0, None, dismissed=True), lease_s=2.0)
    assert (member.phase, actions) == ("gone", (Exit("dismissed"),))
    assert announced(member, announcement(5, 1)) == (member, ())


def test_statuses_are_numbered_and_tell_what_is_held() -> None:
    member, first = status(training(update=7), 1.0, 40, waits=False)
    _, second = status(member, 2.0, 41, waits=True)
    assert (first.sequence, second.sequence) == (1, 2)
    assert (first.lineage, first.update, first.generation) == (0, 7, 0)
    assert (first.progress, first.waits, second.progress, second.waits) == (40, False, 41, True)
    _, empty = status(Member(4), 0.0, 0, waits=False)
    assert (empty.lineage, empty.update, empty.generation) == (None, 0, -1)
