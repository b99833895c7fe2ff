"""Ranks, passes and shares never change the result."""

import collections

import pytest
import torch
from engine import (
    Classify,
    Points,
    Weighed,
    close,
    dropout_network,
    make_replica,
    normed_network,
    plain_network,
    run_ranks,
    run_updates,
    same_bits,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.settings import Settings

LENGTHS = st.integers(1, 30)
BATCHES = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def train(kind, model, length, plan, *, ranks=1, micro=1 << 20, bn_group=None):
    """Train on threads as ranks; return what each has then, and the source of each."""
    sources = [Points(length, torch.float64, noise=0.1) for _ in range(ranks)]
    steps = [Settings(batch, max(micro, bn_group or 1)) for batch in plan]
    replicas = [make_replica(kind(s, model), bn_group=bn_group, clip_norm=0.5) for s in sources]
    return run_ranks(ranks, lambda c: run_updates(replicas[c.rank], steps, c)), sources


@settings(max_examples=15)
@given(
    length=LENGTHS,
    plan=BATCHES,
    ranks=st.integers(1, 3),
    micro=st.integers(1, 6),
    kind=st.sampled_from([Classify, Weighed]),
    bn_group=st.sampled_from([None, 2, 3]),
)
def test_one_result_for_any_cut(length, plan, ranks, micro, kind, bn_group):
    model = plain_network if bn_group is None else normed_network
    (whole,), _ = train(kind, model, length, plan, bn_group=bn_group)
    cut, _ = train(kind, model, length, plan, ranks=ranks, micro=micro, bn_group=bn_group)
    for rank in cut:
        same_bits(rank.state, cut[0].state)
        assert [repr(r) for r in rank.results] == [repr(r) for r in cut[0].results]
    close(cut[0].state, whole.state)
    for a, b in zip(cut[0].results, whole.results, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-9, nan_ok=True)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-9, nan_ok=True)
        assert (a.num_samples, a.weight, a.applied) == (b.num_samples, b.weight, b.applied)


@settings(max_examples=20)
@given(
    length=LENGTHS,
    ranks=st.integers(1, 3),
    micro=st.integers(1, 6),
    data=st.data(),
)
def test_each_sample_of_an_epoch_is_used_once_whatever_the_batches(length, ranks, micro, data):
    plan, left = [], length
    while left > 0:
        plan.append(data.draw(st.integers(1, 12)))
        left -= plan[-1]
    _, sources = train(Classify, plain_network, length, plan, ranks=ranks, micro=micro)
    used = collections.Counter(
        index for source in sources for indices in source.fetched for index in indices
    )
    assert used == dict.fromkeys(range(length), 1)


def test_more_ranks_than_samples_leave_some_without_any():
    (whole,), _ = train(Classify, plain_network, 2, [2, 2])
    ranks, sources = train(Classify, plain_network, 2, [2, 2], ranks=4)
    assert [len(source.fetched) for source in sources] == [2, 2, 0, 0]
    for rank in ranks:
        same_bits(rank.state, ranks[0].state)
    close(ranks[0].state, whole.state)


def test_dropout_depends_on_what_is_computed_and_not_on_what_was():
    def trained(before):
        torch.manual_seed(before)
        torch.rand(before)
        replica = make_replica(Classify(Points(12), dropout_network), bn_group=4)
        torch.rand(before)
        return run_updates(replica, [Settings(8, 4)] * 4).state

    same_bits(trained(5), trained(1000))


def test_dropout_differs_from_pass_to_pass_and_from_epoch_to_epoch():
    masks = []

    class Spy(Classify):
        def losses(self, model, batch):
            masks.append(torch.rand(8))
            return super().losses(model, batch)

    run_updates(make_replica(Spy(Points(8))), [Settings(8, 4)] * 3)
    assert len({tuple(mask.tolist()) for mask in masks}) == 6


def test_a_transform_that_draws_from_torch_is_keyed_too():
    class Noisy(Points):
        def transform(self, batch):
            return {**batch, "x": batch["x"] + torch.rand_like(batch["x"])}

    def trained(seed):
        replica = make_replica(Classify(Noisy(12)))
        torch.manual_seed(seed)
        return run_updates(replica, [Settings(8, 4)] * 3).state

    same_bits(trained(1), trained(2))
