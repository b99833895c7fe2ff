"""What the host makes of the values that come from the device."""

import pytest
import torch

from absa.noise_scale.sample import NormSample
from absa.update.scalars import Flags, Totals
from absa.update.telling import About, result, told

UNITS = torch.tensor([1.0, 2.0, 0.0])
NORMS = torch.tensor([3.0, 4.0, 0.0])


@pytest.fixture
def totals():
    found = Totals((1, 3), 41, torch.float32, torch.device("cpu"))
    found.scalars.copy_(torch.tensor([8.0, 2.0, 0.0, 0.0, 0.0, 0.0]))
    found.samples_per_weight.fill_(6.0)
    return found


def read(totals, norm=5.0, **rows):
    rows = {"gradient": NORMS, **rows}
    return result(told(totals, torch.tensor(norm), rows).tolist(), About(4, tuple(rows)))


def test_a_flag_is_up_if_any_rank_raised_it(totals):
    for raised in (1.0, 3.0):
        totals.scalars[3] = raised
        found = read(totals)
        assert found.flags == Flags(checkpoint=True)
        assert (found.loss, found.applied, found.gradient_norm) == (4.0, True, 5.0)


def test_an_update_that_is_not_measured_tells_its_gradient_alone(totals):
    found = read(totals)
    assert found.norms == NormSample(4, 2.0, (9.0, 16.0, 0.0))
    assert found.weights is None


def test_a_measured_one_tells_its_units_and_what_the_optimizer_makes_of_them(totals):
    assert read(totals, units=UNITS).norms == NormSample(
        4, 2.0, (9.0, 16.0, 0.0), (1.0, 2.0, 0.0), 6.0
    )
    found = read(
        totals, units=UNITS, preconditioned_gradient=NORMS * 2, preconditioned_units=UNITS * 5
    )
    assert found.norms.preconditioned == ((36.0, 64.0, 0.0), (5.0, 10.0, 0.0))
    assert read(totals, units=UNITS, weights=NORMS).weights == (9.0, 16.0, 0.0)


def test_squares_that_float32_cannot_hold_are_told(totals):
    rows = {"gradient": torch.tensor([1e-30, 1e30, 0.0])}
    values = told(totals, torch.tensor(1e30), rows).tolist()
    gradient = result(values, About(4, ("gradient",))).norms.gradient
    assert gradient == pytest.approx((1e-60, 1e60, 0.0), rel=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_units_that_are_not_finite_are_left_out(bad, totals):
    rows = {
        "units": UNITS * bad,
        "preconditioned_gradient": NORMS,
        "preconditioned_units": UNITS,
    }
    assert read(totals, **rows).norms == NormSample(4, 2.0, (9.0, 16.0, 0.0))
    totals.samples_per_weight.fill_(bad)
    rows["units"] = UNITS
    assert read(totals, **rows).norms == NormSample(4, 2.0, (9.0, 16.0, 0.0))


@pytest.mark.parametrize("place", ["preconditioned_gradient", "preconditioned_units"])
def test_an_overflow_of_the_preconditioned_leaves_the_plain_ones(place, totals):
    rows = {"units": UNITS, "preconditioned_gradient": NORMS, "preconditioned_units": UNITS}
    found = read(totals, **rows | {place: UNITS * float("inf")}).norms
    assert found.units == (1.0, 2.0, 0.0)
    assert found.preconditioned is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_skipped_update_tells_nothing_of_the_noise(bad, totals):
    found = read(totals, norm=bad, units=UNITS, weights=NORMS)
    assert (found.applied, found.norms, found.weights) == (False, None, None)
