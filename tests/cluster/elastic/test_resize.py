import pytest

from cluster.elastic.fence import Fence
from cluster.elastic.protocol.messages import Announcement
from cluster.elastic.resize import Stopwatch, describe_change


def group(*members: int) -> Announcement:
    return Announcement(0, 0, members, restores=False, breaks=False)


@pytest.mark.parametrize(
    ("before", "after", "lost", "counts", "reason"),
    [
        ((0,), (0, 1, 2), False, (2, 0, 0), "2 joined"),
        ((0, 1, 2), (0,), False, (0, 2, 0), "2 left"),
        ((0, 1), (1,), True, (0, 0, 1), "1 lost"),
        ((0, 1), (1, 2), True, (1, 0, 1), "1 joined, 1 lost"),
        ((0, 1), (0, 1), True, (0, 0, 0), "the group was formed anew"),
    ],
)
def test_a_change_is_told_in_numbers_and_words(before, after, lost, counts, reason):
    told = describe_change(group(*before), group(*after), lost=lost)

    assert (told["before"], told["after"]) == (len(before), len(after))
    assert (told["joined"], told["left"], told["lost"]) == counts
    assert told["reason"] == reason


def test_the_phases_of_a_stall_are_parts_of_it_and_the_next_begins_anew():
    watch = Stopwatch()
    watch.trained()
    for _ in range(2):
        with watch.phase("group"):
            pass
    seconds, phases = watch.read()

    assert phases.keys() == {"group", "waiting"}
    assert sum(phases.values()) == pytest.approx(seconds)
    assert watch.read()[1].keys() == {"waiting"}


def test_a_phase_that_fails_counts_as_well():
    watch = Stopwatch()
    with pytest.raises(ConnectionError), watch.phase("group"):
        raise ConnectionError
    assert "group" in watch.read()[1]


def test_a_fence_keeps_out_whoever_was_replaced():
    fence = Fence()

    assert fence.admits(0, 3)
    assert fence.admits(0, 3)
    assert fence.admits(1, 0)
    assert not fence.admits(0, 9)
    assert not fence.admits(0, 3)
    assert fence.admits(1, 1)
