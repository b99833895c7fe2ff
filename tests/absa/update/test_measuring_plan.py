"""What a measured update looks at, planned before anything is computed."""

import pytest
from engine import Classify, Points, make_replica, normed_network
from hypothesis import given
from hypothesis import strategies as st

from absa.settings import Settings
from absa.update.cut import Pass, cut_update
from absa.update.measuring import method, plan, probe_position
from absa.update.update import Updater


@st.composite
def _updates(draw):
    bn_group = draw(st.sampled_from([None, 1, 2, 3, 8, 40]))
    num_samples = draw(st.integers(1, 60))
    shares = cut_update(
        num_samples,
        bn_group=bn_group,
        micro_batch=(bn_group or 1) + draw(st.integers(0, 40)),
        world_size=draw(st.integers(1, 4)),
    )
    return num_samples, bn_group, shares


def _groups(shares):
    return [
        (each.start + i * each.group_size, each.group_size)
        for share in shares
        for each in share
        for i in range(each.num_groups)
    ]


@given(update=_updates())
def test_a_measured_update_keeps_its_groups_and_their_ranks(update):
    num_samples, bn_group, shares = update
    found = plan(shares, bn_group, (0, num_samples), 1000).shares
    assert len(found) == len(shares)
    if bn_group is not None:
        assert [_groups([each]) for each in found] == [_groups([each]) for each in shares]
    for before, after in zip(shares, found, strict=True):
        assert sum(each.size for each in before) == sum(each.size for each in after)
        assert all(each.size > 0 for each in after)
    ends = [(each.start, each.start + each.size) for share in found for each in share]
    assert [0, *(end for _, end in ends)] == [*(start for start, _ in ends), num_samples]


@given(update=_updates())
def test_there_are_two_units_or_a_probe(update):
    num_samples, bn_group, shares = update
    found = plan(shares, bn_group, (0, num_samples), 1000)
    num_units = sum(map(len, found.shares))
    assert found.measured
    assert (num_units > 1) == (found.probe is None)
    assert method(shares, bn_group) == ("probe" if found.probe else "units") or num_units == 2
    if method(shares, bn_group) == "halves":
        first, second = found.shares[0]
        assert 0 <= first.num_groups - second.num_groups <= 1
        assert first.num_groups > 1 or first.size - second.size in (0, first.size // 2, 1)


@pytest.mark.parametrize(
    ("whole", "bn_group", "expected"),
    [
        (Pass(0, 4, 32), 32, (Pass(0, 2, 32), Pass(64, 2, 32))),
        (Pass(0, 3, 5), 6, (Pass(0, 2, 5), Pass(10, 1, 5))),
        (Pass(0, 1, 7), None, (Pass(0, 1, 4), Pass(4, 1, 3))),
        (Pass(0, 1, 2), None, (Pass(0, 1, 1), Pass(1, 1, 1))),
        (Pass(0, 2, 1), 1, (Pass(0, 1, 1), Pass(1, 1, 1))),
    ],
)
def test_an_only_pass_is_cut_between_groups_or_samples(whole, bn_group, expected):
    found = plan(((whole,), ()), bn_group, (0, whole.size), 1000)
    assert found.shares == (expected, ())


@pytest.mark.parametrize("bn_group", [None, 1, 8])
def test_what_cannot_be_cut_gets_a_probe(bn_group):
    size = 1 if bn_group != 8 else 8
    shares = ((Pass(0, 1, size),), ())
    assert method(shares, bn_group) == "probe"
    assert plan(shares, bn_group, (0, size), 2 * size).probe == size
    found = plan(shares, bn_group, (0, size), 2 * size - 1)
    assert (found.shares, found.probe, found.measured) == (shares, None, False)


@given(
    start=st.integers(0, 200),
    num_samples=st.integers(1, 100),
    more=st.integers(0, 300),
)
def test_a_probe_takes_other_samples_of_the_same_epoch(start, num_samples, more):
    stop = start + num_samples
    found = probe_position(start, stop, stop + more)
    if found is None:
        assert more < num_samples
        assert start < num_samples
        return
    assert 0 <= found <= stop + more - num_samples
    assert found >= stop or found + num_samples <= start


@pytest.mark.parametrize(
    ("start", "stop", "num_train", "expected"),
    [
        (0, 100, 1000, 500),
        (500, 600, 1000, 750),
        (800, 900, 1000, 900),
        (900, 1000, 1000, 0),
        (960, 1000, 1000, 0),
        (3, 8, 10, None),
        (0, 10, 10, None),
    ],
)
def test_a_probe_lies_ahead_while_there_is_room(start, stop, num_train, expected):
    assert probe_position(start, stop, num_train) == expected


@pytest.mark.parametrize(
    ("settings", "num_computing", "expected"),
    [
        (Settings(8, 4), 1, "units"),
        (Settings(8, 8), 2, "units"),
        (Settings(8, 8), 1, "halves"),
        (Settings(4, 8), 1, "probe"),
        (Settings(4, 8), 2, "probe"),
        (Settings(90, 90), 2, "units"),
    ],
)
def test_an_updater_says_what_measuring_will_take(settings, num_computing, expected):
    updater = Updater(make_replica(Classify(Points(30), normed_network), bn_group=4))
    assert updater.measuring(settings, num_computing) == expected


def test_too_few_data_cannot_be_measured_and_are_said_not_to():
    updater = Updater(make_replica(Classify(Points(7), normed_network), bn_group=4))
    assert updater.measuring(Settings(4, 8), 1) is None
