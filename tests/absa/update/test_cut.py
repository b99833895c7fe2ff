"""How an update is cut: exactly, evenly, and the same for any ranks and micro-batch."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from absa.errors import ConfigError
from absa.update.cut import Pass, cut_update, row_order

_sizes = st.integers(1, 600)
_worlds = st.integers(1, 12)


@st.composite
def _grouped(draw):
    bn_group = draw(st.integers(1, 80))
    return draw(_sizes), bn_group, bn_group + draw(st.integers(0, 200)), draw(_worlds)


def _groups(shares):
    return [
        (p.start + i * p.group_size, p.group_size)
        for share in shares
        for p in share
        for i in range(p.num_groups)
    ]


def _share_sizes(shares):
    return [sum(p.size for p in share) for share in shares]


@given(_grouped())
def test_every_sample_is_used_exactly_once(cut):
    num_samples, bn_group, micro_batch, world_size = cut
    shares = cut_update(
        num_samples, bn_group=bn_group, micro_batch=micro_batch, world_size=world_size
    )
    assert len(shares) == world_size
    used = [p.start + row for share in shares for p in share for row in sorted(row_order(p))]
    assert used == list(range(num_samples))


@given(_grouped())
def test_groups_depend_on_samples_and_bn_group_alone(cut):
    num_samples, bn_group, micro_batch, world_size = cut
    shares = cut_update(
        num_samples, bn_group=bn_group, micro_batch=micro_batch, world_size=world_size
    )
    alone = cut_update(num_samples, bn_group=bn_group, micro_batch=bn_group, world_size=1)
    assert _groups(shares) == _groups(alone)
    sizes = [size for _, size in _groups(alone)]
    parts = math.ceil(num_samples / bn_group)
    assert sizes == [len(part) for part in np.array_split(np.arange(num_samples), parts)]


@given(_grouped())
def test_a_layer_can_tell_the_groups_of_a_pass_from_its_size(cut):
    num_samples, bn_group, micro_batch, world_size = cut
    shares = cut_update(
        num_samples, bn_group=bn_group, micro_batch=micro_batch, world_size=world_size
    )
    for p in (p for share in shares for p in share):
        assert math.ceil(p.size / bn_group) == p.num_groups
        assert 0 < p.size <= micro_batch


@given(_grouped())
def test_single_samples_are_normalised_alone_only_where_it_cannot_be_helped(cut):
    num_samples, bn_group, micro_batch, world_size = cut
    shares = cut_update(
        num_samples, bn_group=bn_group, micro_batch=micro_batch, world_size=world_size
    )
    unavoidable = num_samples == 1 or bn_group == 1 or (bn_group == 2 and num_samples % 2 == 1)
    assert unavoidable or min(size for _, size in _groups(shares)) > 1


@given(_grouped())
def test_ranks_hold_equally_many_groups_to_within_one(cut):
    num_samples, bn_group, micro_batch, world_size = cut
    shares = cut_update(
        num_samples, bn_group=bn_group, micro_batch=micro_batch, world_size=world_size
    )
    counts = [sum(p.num_groups for p in share) for share in shares]
    assert max(counts) - min(counts) <= 1
    assert counts == sorted(counts, reverse=True)


@given(_grouped())
def test_no_fewer_passes_could_hold_a_share(cut):
    num_samples, bn_group, micro_batch, world_size = cut
    shares = cut_update(
        num_samples, bn_group=bn_group, micro_batch=micro_batch, world_size=world_size
    )
    for share in shares:
        by_size = {
            size: [p for p in share if p.group_size == size]
            for size in {p.group_size for p in share}
        }
        for size, passes in by_size.items():
            groups = sum(p.num_groups for p in passes)
            assert len(passes) == math.ceil(groups / (micro_batch // size))


@given(num_samples=_sizes, micro_batch=st.integers(1, 200), world_size=_worlds)
def test_without_batch_norm_samples_are_dealt_out_evenly(num_samples, micro_batch, world_size):
    shares = cut_update(num_samples, bn_group=None, micro_batch=micro_batch, world_size=world_size)
    sizes = _share_sizes(shares)
    assert sum(sizes) == num_samples
    assert max(sizes) - min(sizes) <= 1
    start = 0
    for share, size in zip(shares, sizes, strict=True):
        assert len(share) == math.ceil(size / micro_batch)
        for p in share:
            assert (p.start, p.num_groups) == (start, 1)
            assert 0 < p.size <= micro_batch
            start += p.size
        assert not share or max(p.size for p in share) - min(p.size for p in share) <= 1


def test_tail_of_an_epoch_is_cut_into_even_groups():
    assert cut_update(33, bn_group=32, micro_batch=64, world_size=1) == (
        (Pass(0, 1, 17), Pass(17, 1, 16)),
    )


def test_a_large_batch_goes_through_in_wide_passes():
    assert cut_update(256, bn_group=32, micro_batch=128, world_size=1) == (
        (Pass(0, 4, 32), Pass(128, 4, 32)),
    )


def test_ranks_beyond_the_groups_stay_empty():
    shares = cut_update(10, bn_group=8, micro_batch=8, world_size=4)
    assert shares == ((Pass(0, 1, 5),), (Pass(5, 1, 5),), (), ())


def test_rows_interleave_the_groups():
    assert row_order(Pass(start=40, num_groups=2, group_size=3)).tolist() == [0, 3, 1, 4, 2, 5]


@given(num_groups=st.integers(1, 9), group_size=st.integers(1, 9))
def test_a_view_of_the_rows_separates_the_groups(num_groups, group_size):
    rows = row_order(Pass(7, num_groups, group_size))
    for group, members in enumerate(rows.reshape(group_size, num_groups).T):
        assert members.tolist() == [group * group_size + j for j in range(group_size)]


def test_one_group_keeps_its_order():
    assert row_order(Pass(3, 1, 4)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("num_samples", "bn_group", "micro_batch", "world_size", "named"),
    [
        (0, 4, 4, 1, "num_samples is 0"),
        (8, 0, 4, 1, "bn_group is 0"),
        (8, 4, 0, 1, "micro_batch is 0"),
        (8, 4, 4, 0, "world_size is 0"),
        (8, 4, 3, 1, "batch.micro is 3"),
        (2, 4, 3, 1, "batch.micro is 3"),
        (8, None, 0, 1, "micro_batch is 0"),
    ],
)
def test_impossible_cuts_are_refused(num_samples, bn_group, micro_batch, world_size, named):
    with pytest.raises(ConfigError, match=named):
        cut_update(num_samples, bn_group=bn_group, micro_batch=micro_batch, world_size=world_size)
