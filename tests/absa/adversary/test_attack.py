"""A share of each batch is perturbed; all else is as without."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
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

from absa.adversary.attack import attacked, perturbed
from absa.adversary.inputs import Inputs
from absa.errors import ConfigError, TaskError
from absa.settings import Settings

EPS, BOUND, UNIT = 0.2, 1.5, 2.0


class Attacked(Classify):
    """Its points may be moved between -1.5 and 1.5, in steps that count twice."""

    def adversarial_inputs(self, batch):
        bound = torch.tensor(BOUND, dtype=batch["x"].dtype)
        unit = torch.tensor(UNIT, dtype=batch["x"].dtype)
        return Inputs(batch["x"], unit, -bound, bound, lambda x: {**batch, "x": x})


class AttackedWeighed(Attacked, Weighed):
    pass


def points(length=24):
    source = Points(length, torch.float64)
    source.x.clamp_(-BOUND, BOUND)  # as images are: clean ones lie in the range
    return source


def losses_of(replica):
    return lambda batch, num_samples: replica.task.losses(replica.model, batch)


def by_hand(model, x, y):
    """Attack by autograd alone, one sample after the other."""
    model.eval()
    moved = []
    for each, label in zip(x, y, strict=True):
        one = each[None].clone().requires_grad_()
        F.cross_entropy(model(one), label[None]).backward()
        moved.append((each + EPS * UNIT * one.grad[0].sign()).clamp(-BOUND, BOUND))
    model.train()
    model.zero_grad()
    return torch.stack(moved)


@settings(max_examples=40)
@given(
    start=st.integers(0, 10**7),
    length=st.integers(1, 300),
    ratio=st.sampled_from([0.2 / 2**i for i in range(7)] + [1 / 3, 0.5, 1.0]),
)
def test_any_run_of_samples_has_its_share_rounded_down_or_up(start, length, ratio):
    chosen = attacked(np.arange(start, start + length), ratio)
    assert math.floor(length * ratio - 1e-6) <= chosen.sum() <= math.ceil(length * ratio + 1e-6)
    # Order and neighbours do not matter.
    backwards = np.arange(start, start + length)[::-1]
    assert (attacked(backwards, ratio) == chosen[::-1]).all()


def test_a_share_of_all_is_every_sample_and_of_none_is_none():
    assert attacked(np.arange(50), 1.0).all()
    assert not attacked(np.arange(50), 0.0).any()
    assert attacked(np.arange(10), 0.5).tolist() == [False, True] * 5


@pytest.mark.parametrize("measure", [False, True])
@pytest.mark.parametrize("kind", [Attacked, AttackedWeighed])
def test_an_update_is_that_of_data_perturbed_by_hand(kind, measure):
    """Its gradient, its loss, its batch-norm statistics, and the norms of its units."""
    replica = make_replica(kind(points(), normed_network), bn_group=4, eps=EPS)
    order = replica.order.indices(0, 0, 24)
    rows = order[attacked(np.arange(24), 0.3)]
    other = points()
    other.x[rows] = by_hand(replica.model, other.x[rows], other.y[rows])
    assert (other.x != replica.train.x).any(1).sum() == len(rows) == 7
    clean_kind = Weighed if kind is AttackedWeighed else Classify
    expected = run_updates(
        make_replica(clean_kind(other, normed_network), bn_group=4),
        [Settings(12, 8)],
        measure=measure,
    )
    found = run_updates(replica, [Settings(12, 8, adversarial_ratio=0.3)], measure=measure)
    close(found.state, expected.state)
    (a,), (b,) = found.results, expected.results
    assert a.loss == pytest.approx(b.loss, rel=1e-12)
    assert a.norms.gradient == pytest.approx(b.norms.gradient, rel=1e-9)
    if measure:
        assert a.norms.units == pytest.approx(b.norms.units, rel=1e-9)


def test_a_probe_is_perturbed_as_the_update_is():
    def norms(source, ratio, kind):
        replica = make_replica(kind(source, normed_network), bn_group=6, eps=EPS)
        step = Settings(6, 6, adversarial_ratio=ratio)
        (result,) = run_updates(replica, [step], measure=True).results
        return result.norms.units

    replica = make_replica(Attacked(points(), normed_network), bn_group=6)
    rows = replica.order.indices(0, 0, 24)[attacked(np.arange(24), 0.5)]
    other = points()
    other.x[rows] = by_hand(replica.model, other.x[rows], other.y[rows])
    assert norms(points(), 0.5, Attacked) == pytest.approx(norms(other, 0.0, Classify), rel=1e-9)


def test_without_a_share_every_bit_is_as_if_the_task_had_no_inputs():
    steps = [Settings(8, 4)] * 5
    with_them = run_updates(make_replica(Attacked(points(), dropout_network), bn_group=4), steps)
    without = run_updates(make_replica(Classify(points(), dropout_network), bn_group=4), steps)
    same_bits(with_them.state, without.state)


def test_an_attack_leaves_nothing_behind():
    replica = make_replica(Attacked(points(), dropout_network), bn_group=4, eps=EPS)
    batch = replica.train.fetch(np.arange(8), None)
    before = {name: t.clone() for name, t in replica.model.state_dict().items()}
    called = []
    for parameter in replica.parameters:
        parameter.register_hook(called.append)
        parameter.register_post_accumulate_grad_hook(called.append)
    replica.model[3].eval()  # a user may hold a part of the model in evaluation mode
    modes = [module.training for module in replica.model.modules()]
    stream, clean = torch.get_rng_state(), batch["x"].clone()
    moved = perturbed(replica, batch, np.array([1, 5]), losses_of(replica))
    assert torch.equal(torch.get_rng_state(), stream)
    assert [module.training for module in replica.model.modules()] == modes
    assert all(parameter.grad is None for parameter in replica.parameters)
    assert not called
    same_bits(dict(replica.model.state_dict()), before)
    assert torch.equal(batch["x"], clean)
    changed = (moved["x"] != clean).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [1, 5]
    assert not moved["x"].requires_grad
    replica.statistics.pack(packed := torch.ones(replica.statistics.size, dtype=torch.float64))
    assert (packed == 0).all()


def test_an_attack_raises_the_loss():
    replica = make_replica(Attacked(points()), eps=0.05)
    batch = replica.train.fetch(np.arange(24), None)
    moved = perturbed(replica, batch, np.arange(24), losses_of(replica))
    before, after = (replica.task.losses(replica.model, each) for each in (batch, moved))
    assert (after >= before).all()
    assert after.mean() > before.mean()


@settings(max_examples=8)
@given(
    length=st.integers(1, 30),
    plan=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    ranks=st.integers(1, 3),
    micro=st.integers(1, 6),
    ratio=st.sampled_from([0.2, 0.5, 1.0]),
    bn_group=st.sampled_from([None, 2, 3]),
)
def test_ranks_and_passes_never_change_who_is_perturbed(
    length, plan, ranks, micro, ratio, bn_group
):
    model = plain_network if bn_group is None else normed_network

    def train(num_ranks, most):
        micro_batch = max(most, bn_group or 1)
        steps = [Settings(batch, micro_batch, adversarial_ratio=ratio) for batch in plan]
        replicas = [
            make_replica(AttackedWeighed(points(length), model), bn_group=bn_group, eps=EPS)
            for _ in range(num_ranks)
        ]
        return run_ranks(num_ranks, lambda c: run_updates(replicas[c.rank], steps, c))

    (whole,), cut = train(1, 1 << 20), train(ranks, micro)
    for rank in cut:
        same_bits(rank.state, cut[0].state)
    close(cut[0].state, whole.state)


def test_a_measured_update_with_an_attack_is_the_same_to_the_bit():
    def train(measure):
        replica = make_replica(Attacked(points(), dropout_network), bn_group=2, eps=EPS)
        steps = [Settings(8, 4, adversarial_ratio=0.4)] * 5
        return run_updates(replica, steps, measure=measure).state

    same_bits(train(measure=True), train(measure=False))


def test_a_task_that_names_no_inputs_cannot_be_attacked():
    replica = make_replica(Classify(points()))
    with pytest.raises(ConfigError, match=r"Classify does not say.*adversarial_inputs.*abs, not"):
        run_updates(replica, [Settings(8, 8, adversarial_ratio=0.2)])


def test_inputs_of_another_length_are_refused():
    class Wrong(Attacked):
        def adversarial_inputs(self, batch):
            found = super().adversarial_inputs(batch)
            return Inputs(found.values[:1], found.unit, found.lowest, found.highest, found.put)

    with pytest.raises(TaskError, match=r"shape \(1, 6\).*4 rows"):
        run_updates(make_replica(Wrong(points())), [Settings(8, 8, adversarial_ratio=0.5)])


def test_inputs_that_the_loss_does_not_read_are_refused():
    class Wrong(Attacked):
        def adversarial_inputs(self, batch):
            found = super().adversarial_inputs(batch)
            put = lambda values: batch  # noqa: E731
            return Inputs(found.values, found.unit, found.lowest, found.highest, put)

    with pytest.raises(TaskError, match="does not depend on the values"):
        run_updates(make_replica(Wrong(points())), [Settings(8, 8, adversarial_ratio=0.5)])
