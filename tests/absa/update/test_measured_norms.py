"""What a measured update tells of the gradient noise, against gradients taken one by one."""

import copy

import pytest
import torch
from engine import (
    Classify,
    Points,
    Weighed,
    make_replica,
    normed_network,
    plain_network,
    run_ranks,
    run_updates,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.models.running_statistics import statistics_ignored
from absa.order import next_range
from absa.settings import Settings
from absa.update.cut import cut_update


def summed_gradient(replica, groups):
    """Return, per tensor, the gradient of the sum of weighted losses, one group at a time."""
    model, task, source = copy.deepcopy(replica.model), replica.task, replica.train
    parameters = list(model.parameters())
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    for rows in groups:
        batch = {"x": source.x[rows], "y": source.y[rows], "weight": source.weight[rows]}
        with statistics_ignored(model):
            losses = task.losses(model, batch)
        weights = task.weights(batch) if isinstance(task, Weighed) else torch.ones_like(losses)
        gradients = torch.autograd.grad(torch.dot(losses, weights), parameters)
        totals = [total + each for total, each in zip(totals, gradients, strict=True)]
    return totals, sum(total_weight(replica, rows) for rows in groups)


def total_weight(replica, rows):
    weighted = isinstance(replica.task, Weighed)
    return float(replica.train.weight[rows].sum()) if weighted else float(len(rows))


def squares(tensors):
    return torch.stack([tensor.square().sum() for tensor in tensors])


def by_hand(replica, units):
    """Return |g|^2, the sums over units, and B and W; a unit is a list of groups of rows."""
    whole, weight = summed_gradient(replica, [rows for unit in units for rows in unit])
    num_samples = sum(len(rows) for unit in units for rows in unit)
    sums, samples_per_weight = torch.zeros(len(whole), dtype=torch.float64), 0.0
    for unit in units:
        gradient, unit_weight = summed_gradient(replica, unit)
        sums += squares(gradient) / unit_weight
        samples_per_weight += sum(map(len, unit)) / unit_weight
    gradient = squares(whole) / weight**2
    return gradient.tolist(), sums.tolist(), samples_per_weight, num_samples, weight


def rows_of(replica, samples, batch, sizes):
    """Return the units of an update, as rows of the data; ``sizes`` are those of their groups."""
    epoch, start, stop = next_range(samples, batch, len(replica.train))
    rows = torch.from_numpy(replica.order.indices(epoch, start, stop))
    flat = [size for unit in sizes for size in unit]
    assert sum(flat) == stop - start
    groups = iter(rows.split(flat))
    return [[next(groups) for _ in unit] for unit in sizes]


def agrees(sample, expected, rel=1e-9):
    gradient, units, samples_per_weight, num_samples, weight = expected
    assert sample.num_samples == num_samples
    assert sample.weight == pytest.approx(weight, rel=1e-12)
    assert sample.gradient == pytest.approx(gradient, rel=rel)
    assert sample.units == pytest.approx(units, rel=rel)
    assert sample.samples_per_weight == pytest.approx(samples_per_weight, rel=1e-12)


def measured(replicas, steps):
    """Make updates that leave the weights alone, measured, on as many ranks as replicas."""
    ranks = run_ranks(
        len(replicas),
        lambda c: run_updates(replicas[c.rank], steps, c, lr=0.0, measure=True).results,
    )
    assert all(repr(rank) == repr(ranks[0]) for rank in ranks)
    return [result.norms for result in ranks[0]]


ONES = [1] * 100
CASES = {
    "three passes": (None, 1, Settings(7, 3), [ONES[:3], ONES[:2], ONES[:2]]),
    "two ranks, unequal shares": (None, 2, Settings(7, 9), [ONES[:4], ONES[:3]]),
    "ranks and passes": (None, 2, Settings(7, 2), [ONES[:2], ONES[:2], ONES[:2], ONES[:1]]),
    "a rank without samples": (3, 3, Settings(6, 3), [[3], [3]]),
    "wide passes": (2, 1, Settings(8, 4), [[2, 2], [2, 2]]),
    "unequal groups": (3, 2, Settings(8, 3), [[3], [3], [2]]),
    "samples in halves": (None, 1, Settings(7, 9), [ONES[:4], ONES[:3]]),
    "groups in halves": (2, 1, Settings(6, 6), [[2, 2], [2]]),
}


@pytest.mark.parametrize("kind", [Classify, Weighed])
@pytest.mark.parametrize("case", CASES)
def test_sums_are_those_of_gradients_taken_one_by_one(case, kind):
    bn_group, num_ranks, step, sizes = CASES[case]
    network = plain_network if bn_group is None else normed_network
    points = Points(20, torch.float64)
    points.weight += 0.5
    replicas = [make_replica(kind(points, network), bn_group=bn_group) for _ in range(num_ranks)]
    (sample,) = measured(replicas, [step])
    agrees(sample, by_hand(replicas[0], rows_of(replicas[0], 0, step.global_batch, sizes)))


def test_every_update_tells_its_gradient_and_only_a_measured_one_its_units():
    replica = make_replica(Classify(Points(20, torch.float64)))
    (result,) = run_updates(replica, [Settings(6, 2)], lr=0.0).results
    expected = by_hand(replica, rows_of(replica, 0, 6, [ONES[:6]]))
    assert result.norms.gradient == pytest.approx(expected[0], rel=1e-9)
    assert result.norms.units is None
    assert sum(result.norms.gradient) == pytest.approx(result.gradient_norm**2, rel=1e-12)


def test_the_short_last_update_of_an_epoch_counts_what_it_has():
    replica = make_replica(Classify(Points(10, torch.float64)))
    samples = measured([replica], [Settings(7, 4)] * 3)
    for before, sizes, sample in zip((0, 7, 10), ([4, 3], [2, 1], [4, 3]), samples, strict=True):
        units = [ONES[:size] for size in sizes]
        agrees(sample, by_hand(replica, rows_of(replica, before, 7, units)))


@pytest.mark.parametrize("verdict", ["host", "device"])
def test_norms_are_those_before_clipping(verdict):
    plain, clipped = (
        make_replica(Classify(Points(20)), clip_norm=clip, verdict=verdict) for clip in (None, 1e-3)
    )
    assert measured([plain], [Settings(6, 2)] * 2) == measured([clipped], [Settings(6, 2)] * 2)


def test_bfloat16_is_measured_in_float32():
    replica = make_replica(Classify(Points(20)), precision="bf16")
    exact = make_replica(Classify(Points(20, torch.float64)))
    (sample,) = measured([replica], [Settings(8, 2)])
    gradient, units, *_ = by_hand(exact, rows_of(exact, 0, 8, [ONES[:2]] * 4))
    assert sample.gradient == pytest.approx(gradient, rel=3e-2)
    assert sample.units == pytest.approx(units, rel=3e-2)


def test_a_unit_that_weighs_nothing_says_nothing():
    points = Points(20)
    points.weight.fill_(1.0)
    replica = make_replica(Weighed(points))
    points.weight[replica.order.indices(0, 0, 3)] = 0.0
    first, second = measured([replica], [Settings(6, 3)] * 2)
    assert first.units is None
    assert sum(first.gradient) > 0
    assert second.units is not None


class Bad(Classify):
    """Its losses of one pass are not finite."""

    passes = 0

    def losses(self, model, batch):
        self.passes += 1
        return super().losses(model, batch) * (float("nan") if self.passes == 2 else 1.0)


@pytest.mark.parametrize("verdict", ["host", "device"])
def test_a_skipped_update_tells_nothing_and_the_next_one_all(verdict):
    replica = make_replica(Bad(Points(20, torch.float64)), verdict=verdict)
    skipped, sample = measured([replica], [Settings(6, 3)] * 2)
    assert skipped is None
    agrees(sample, by_hand(replica, rows_of(replica, 6, 6, [ONES[:3]] * 2)))


def spare_network():
    """A parameter that only positive inputs use, and one that nothing does."""
    network = plain_network()
    network.spare = torch.nn.Parameter(torch.ones(3))
    network.some = torch.nn.Parameter(torch.ones(3))

    def forward(x):
        found = network[2](network[1](network[0](x)))
        return found * network.some if x[0, 0] > 0 else found

    network.forward = forward
    return network


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_parameter_that_some_passes_do_not_use_adds_nothing_there(num_ranks):
    replicas = [make_replica(Classify(Points(40), spare_network)) for _ in range(num_ranks)]
    (sample,) = measured(replicas, [Settings(12, 1)])
    source, order = replicas[0].train, replicas[0].order
    expected = 0.0
    used = 0
    for row in order.indices(0, 0, 12):
        if source.x[row, 0] <= 0:
            continue
        used += 1
        network = replicas[0].model
        loss = replicas[0].task.losses(
            network, {"x": source.x[row : row + 1], "y": source.y[row : row + 1]}
        )
        (gradient,) = torch.autograd.grad(loss.sum(), [network.some])
        expected += gradient.square().sum().item()
    assert 0 < used < 12
    names = [name for name, _ in replicas[0].model.named_parameters()]
    assert sample.units[names.index("some")] == pytest.approx(expected, rel=1e-5)
    assert sample.units[names.index("spare")] == 0


@settings(max_examples=15)
@given(
    batch=st.integers(2, 14),
    bn_group=st.sampled_from([None, 2, 3]),
    micro=st.integers(1, 8),
    num_ranks=st.integers(1, 3),
    kind=st.sampled_from([Classify, Weighed]),
)
def test_any_cut_is_measured_right(batch, bn_group, micro, num_ranks, kind):
    network = plain_network if bn_group is None else normed_network
    points = Points(40, torch.float64)
    points.weight += 0.5
    *replicas, fresh = (
        make_replica(kind(points, network), bn_group=bn_group) for _ in range(num_ranks + 1)
    )
    micro = max(micro, bn_group or 1)
    shares = cut_update(batch, bn_group=bn_group, micro_batch=micro, world_size=num_ranks)
    sizes = [
        [1] * each.size if bn_group is None else [each.group_size] * each.num_groups
        for share in shares
        for each in share
    ]
    if len(sizes) == 1:
        half = -(-len(sizes[0]) // 2)
        sizes = [sizes[0][:half], sizes[0][half:]]
    (sample,) = measured(replicas, [Settings(batch, micro)])
    if all(sizes):
        agrees(sample, by_hand(fresh, rows_of(fresh, 0, batch, sizes)))
    # Whatever the units, their mean square exceeds the square of the mean.
    weight, sums = sample.weight, torch.tensor(sample.units)
    assert bool((sums >= weight * torch.tensor(sample.gradient) * (1 - 1e-9)).all())
