import pytest
import torch

from absa.noise_scale.sample import NormSample
from absa.update.scalars import NUM_SCALARS, Flags, Totals, result, told


@pytest.fixture
def totals():
    return Totals(3, 41, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1, NUM_SCALARS, NUM_SCALARS + 40])
def test_the_verdict_is_nan_wherever_a_number_is_not_finite(bad, place, totals):
    totals.all.fill_(3e38)  # whose sum would overflow
    assert totals.verdict().item() == 0
    (totals.scalars if place < NUM_SCALARS else totals.statistics)[place % NUM_SCALARS] = bad
    assert totals.verdict().isnan()


def test_units_that_are_not_finite_leave_the_verdict_alone(totals):
    totals.units.fill_(float("nan"))
    totals.samples_per_weight.fill_(float("inf"))
    assert totals.verdict().item() == 0


def test_an_update_begins_at_zero_with_its_flags_up(totals):
    totals.all.fill_(7)
    totals.begin(Flags(checkpoint=True))
    assert totals.scalars.tolist() == [0, 0, 0, 1, 0, 0]
    assert totals.units.tolist() == [0, 0, 0]
    assert totals.samples_per_weight.item() == 0


def found(totals, norm=5.0, num_samples=4):
    norms = torch.tensor([3.0, 4.0, 0.0])
    return result(told(totals, torch.tensor(norm), norms).tolist(), num_samples)


def test_a_flag_is_up_if_any_rank_raised_it(totals):
    for raised in (1.0, 3.0):
        totals.scalars.copy_(torch.tensor([8.0, 4.0, 0.0, raised, 0.0, 0.0]))
        assert found(totals).flags == Flags(checkpoint=True)
        assert (found(totals).loss, found(totals).applied) == (2.0, True)


def test_an_update_tells_its_squared_norms_and_those_of_its_units(totals):
    totals.weight.fill_(2.0)
    assert found(totals).norms == NormSample(4, 2.0, (9.0, 16.0, 0.0))
    totals.units.copy_(torch.tensor([1.0, 2.0, 0.0]))
    totals.samples_per_weight.fill_(6.0)
    assert found(totals).norms == NormSample(4, 2.0, (9.0, 16.0, 0.0), (1.0, 2.0, 0.0), 6.0)


def test_squares_that_float32_cannot_hold_are_told(totals):
    norms = torch.tensor([1e-30, 1e30, 0.0])
    told_values = told(totals, torch.tensor(1e30), norms).tolist()
    gradient = result(told_values, 4).norms.gradient
    assert gradient == pytest.approx((1e-60, 1e60, 0.0), rel=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_units_that_are_not_finite_are_not_told(bad, totals):
    totals.units.fill_(bad)
    totals.samples_per_weight.fill_(2.0)
    assert found(totals).norms.units is None
    totals.units.fill_(1.0)
    totals.samples_per_weight.fill_(float("nan"))
    assert found(totals).norms.units is None
    assert found(totals).norms.gradient == (9.0, 16.0, 0.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_skipped_update_tells_nothing_of_the_noise(bad, totals):
    totals.units.fill_(1.0)
    totals.samples_per_weight.fill_(2.0)
    skipped = found(totals, norm=bad)
    assert (skipped.applied, skipped.norms) == (False, None)


def test_flags_join_and_part():
    command, both = Flags(command=True), Flags(command=True, time_up=True)
    assert command | Flags(time_up=True) == both
    assert both.without(command) == Flags(time_up=True)
    assert not Flags()
    assert command
