import pytest
import torch
from noisy_gradients import norms_of
from torch import nn

from absa.errors import MeasurementError
from absa.noise_scale.units import GradientUnits, LoopOptions


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype)


def batch(size, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, 4, dtype=dtype, generator=generator)
    return x, torch.randint(3, (size,), generator=generator)


def losses_of(model, x, y):
    return nn.functional.cross_entropy(model(x), y, reduction="none")


def expected(model, x, y, cut, weights=None):
    """Return the norms by the slow way: every sample's gradient on its own."""
    parameters = list(model.parameters())
    rows = []
    for loss in losses_of(model, x, y):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    weights = None if weights is None else weights.numpy()
    return norms_of(torch.stack(rows).numpy(), cut, weights, [p.numel() for p in parameters])


def same(found, wanted, rel=1e-9):
    assert found.num_samples == wanted.num_samples
    assert found.gradient == pytest.approx(wanted.gradient, rel=rel)
    assert found.units == pytest.approx(wanted.units, rel=rel)
    assert found.samples_per_weight == pytest.approx(wanted.samples_per_weight)


@pytest.mark.parametrize("cut", [(4, 4), (1, 5, 2), (1,) * 8])
@pytest.mark.parametrize("kind", ["mean", "sum"])
def test_passes_of_any_size_have_the_norms_of_their_samples(cut, kind):
    model, (x, y) = network(), batch(8)
    units = GradientUnits(model.parameters(), LoopOptions(loss=kind))
    for a, b in zip(x.split(cut), y.split(cut), strict=True):
        losses = losses_of(model, a, b)
        if kind == "sum":
            losses.sum().backward()
            units.add(len(a))
        else:
            (losses.mean() * len(a) / 8).backward()
            units.add(len(a), loss_scale=len(a) / 8)
    same(units.finish(), expected(model, x, y, cut))


def test_the_gradient_is_left_as_a_loop_without_it_makes_it():
    gradients = []
    for watched in (True, False):
        model, (x, y) = network(), batch(8)
        units = GradientUnits(model.parameters()) if watched else None
        for a, b in zip(x.split(4), y.split(4), strict=True):
            (losses_of(model, a, b).mean() / 2).backward()
            if units is not None:
                units.add(4, loss_scale=1 / 2)
        if units is not None:
            units.finish()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_weights_of_samples_count():
    model, (x, y) = network(), batch(7)
    weights = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    units = GradientUnits(model.parameters())
    for rows in (slice(0, 3), slice(3, 7)):
        (losses_of(model, x[rows], y[rows]) * weights[rows]).sum().backward()
        units.add(rows.stop - rows.start, weight=float(weights[rows].sum()))
    units_found = units.finish()
    same(units_found, expected(model, x, y, [3, 4], weights * 7 / weights.sum()))
    assert units_found.weight == 7


def test_a_pass_that_weighs_nothing_is_left_out():
    model, (x, y) = network(), batch(8)
    units = GradientUnits(model.parameters(), LoopOptions(loss="sum"))
    for rows, weight in ((slice(0, 4), 1), (slice(0, 8), 0), (slice(4, 8), 1)):
        (losses_of(model, x[rows], y[rows]).sum() * weight).backward()
        units.add(rows.stop - rows.start, weight=4.0 * weight)
    same(units.finish(), expected(model, x, y, [4, 4]))


def test_the_scale_of_grad_scaler_is_undone():
    model, (x, y) = network(torch.float32), batch(8, torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    units = GradientUnits(model.parameters())
    for a, b in zip(x.split(4), y.split(4), strict=True):
        scaler.scale(losses_of(model, a, b).mean() / 2).backward()
        units.add(4, loss_scale=scaler.get_scale() / 2)
    same(units.finish(), expected(model, x, y, [4, 4]), rel=1e-5)


@pytest.mark.parametrize("size", [2, 7])
def test_one_pass_goes_backward_by_halves(size):
    model, (x, y) = network(), batch(size)
    units = GradientUnits(model.parameters())
    units.backward_by_halves(losses_of(model, x, y))
    same(units.finish(), expected(model, x, y, [size // 2, size - size // 2]))


def test_units_are_looked_at_in_one_of_so_many_updates():
    model, (x, y) = network(), batch(4)
    units = GradientUnits(model.parameters(), LoopOptions(every_updates=3))
    looked = []
    for _ in range(6):
        model.zero_grad()
        units.backward_by_halves(losses_of(model, x, y))
        looked.append(units.is_looking)
        sample = units.finish()
        assert (sample.units is not None) == looked[-1]
        assert sample.gradient == pytest.approx(expected(model, x, y, [2, 2]).gradient)
        assert (sample.num_samples, sample.weight) == (4, 4.0)
    assert looked == [True, False, False] * 2


def test_a_curvature_product_in_between_is_no_unit():
    model, (x, y) = network(), batch(8)
    units = GradientUnits(model.parameters(), LoopOptions(loss="sum"))
    for a, b in zip(x.split(4), y.split(4), strict=True):
        losses_of(model, a, b).sum().backward()
        torch.autograd.grad(losses_of(model, x, y).sum(), list(model.parameters()))
        units.add(4)
        torch.autograd.grad(losses_of(model, x, y).sum(), list(model.parameters()))
    same(units.finish(), expected(model, x, y, [4, 4]))


def test_parameters_shared_unused_frozen_and_sparse():
    table = nn.Embedding(5, 4, sparse=True).double()
    unused, frozen = nn.Linear(2, 2).double(), nn.Linear(4, 4).double().requires_grad_(False)
    shared = nn.Linear(4, 4).double()
    model = nn.ModuleList([table, unused, frozen, shared])

    def loss(rows):
        return shared(shared(frozen(table(rows)))).square().sum()

    units = GradientUnits(model.parameters(), LoopOptions(loss="sum"))
    wanted = []
    for rows in (torch.tensor([0, 1, 1]), torch.tensor([1, 4])):
        before = [None if p.grad is None else p.grad.to_dense().clone() for p in model.parameters()]
        loss(rows).backward()
        units.add(len(rows))
        wanted.append(
            sum(
                ((p.grad.to_dense() - (0 if old is None else old)) ** 2).sum() / len(rows)
                for p, old in zip(model.parameters(), before, strict=True)
                if p.grad is not None
            )
        )
    found = units.finish()
    assert len(found.gradient) == len(found.units) == 5
    assert found.units[1:3] == (0.0, 0.0)
    assert sum(found.units) == pytest.approx(float(sum(wanted)))


def test_norms_that_are_not_finite_are_handed_on():
    model, (x, y) = network(), batch(4)
    units = GradientUnits(model.parameters())
    units.backward_by_halves(losses_of(model, x * float("nan"), y))
    assert any(norm != norm for norm in units.finish().gradient)


def test_a_lone_pass_at_the_end_of_an_epoch_is_an_update_without_units():
    model, (x, y) = network(), batch(4)
    units = GradientUnits(model.parameters())
    units.backward_by_halves(losses_of(model, x, y))
    units.finish()
    losses_of(model, x, y).mean().backward()
    units.add(4)
    assert units.finish().units is None


def test_a_loop_that_can_never_say_anything_is_told_so():
    model, (x, y) = network(), batch(4)
    units = GradientUnits(model.parameters())
    losses_of(model, x, y).mean().backward()
    units.add(4)
    with pytest.raises(MeasurementError, match="backward_by_halves"):
        units.finish()


def test_two_passes_without_a_call_in_between_are_refused():
    model, (x, y) = network(), batch(4)
    units = GradientUnits(model.parameters())
    losses_of(model, x, y).mean().backward()
    with pytest.raises(MeasurementError, match="after each backward pass"):
        losses_of(model, x, y).mean().backward()
    units.close()
    losses_of(model, x, y).mean().backward()


def test_what_cannot_be_is_refused():
    model, (x, y) = network(), batch(4)
    with pytest.raises(MeasurementError, match="no parameters"):
        GradientUnits([])
    with pytest.raises(MeasurementError, match="every_updates is 0"):
        LoopOptions(every_updates=0)
    units = GradientUnits(model.parameters())
    with pytest.raises(MeasurementError, match="no pass"):
        units.finish()
    with pytest.raises(MeasurementError, match="0 samples"):
        units.add(0)
    with pytest.raises(MeasurementError, match="weight"):
        units.add(4, loss_scale=float("nan"))
    with pytest.raises(MeasurementError, match="halved"):
        units.backward_by_halves(losses_of(model, x[:1], y[:1]))
