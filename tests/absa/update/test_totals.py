import pytest
import torch

from absa.update.scalars import NUM_SCALARS, Flags, Totals, result


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1, NUM_SCALARS, NUM_SCALARS + 40])
def test_the_verdict_is_nan_wherever_a_number_is_not_finite(bad, place):
    totals = Totals(41, torch.float32, torch.device("cpu"))
    totals.all.fill_(3e38)  # whose sum would overflow
    assert totals.verdict().item() == 0
    totals.all[place] = bad
    assert totals.verdict().isnan()


def test_an_update_begins_at_zero_with_its_flags_up():
    totals = Totals(2, torch.float32, torch.device("cpu"))
    totals.scalars.fill_(7)
    totals.begin(Flags(checkpoint=True))
    assert totals.scalars.tolist() == [0, 0, 0, 1, 0, 0]


def test_a_flag_is_up_if_any_rank_raised_it():
    for raised in (1.0, 3.0):
        found = result([8.0, 4.0, 0.0, raised, 0.0, 0.0, 0.5], 4)
        assert found.flags == Flags(checkpoint=True)
        assert (found.loss, found.applied) == (2.0, True)


def test_flags_join_and_part():
    command, both = Flags(command=True), Flags(command=True, time_up=True)
    assert command | Flags(time_up=True) == both
    assert both.without(command) == Flags(time_up=True)
    assert not Flags()
    assert command
