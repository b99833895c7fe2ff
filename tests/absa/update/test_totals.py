import pytest
import torch

from absa.update.scalars import NUM_SCALARS, Flags, Totals


@pytest.fixture
def totals():
    return Totals((2, 3), 41, torch.float32, torch.device("cpu"))


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
    assert totals.units.tolist() == [[0, 0, 0]] * 2
    assert totals.samples_per_weight.item() == 0


def test_everything_lies_in_one_tensor_and_apart(totals):
    totals.units.fill_(1)
    totals.samples_per_weight.fill_(2)
    totals.scalars.fill_(3)
    totals.statistics.fill_(4)
    assert totals.all.tolist() == [1] * 6 + [2] + [3] * NUM_SCALARS + [4] * 41
    assert totals.numbers.tolist() == [2] + [3] * NUM_SCALARS


def test_flags_join_and_part():
    command, both = Flags(command=True), Flags(command=True, time_up=True)
    assert command | Flags(time_up=True) == both
    assert both.without(command) == Flags(time_up=True)
    assert not Flags()
    assert command
