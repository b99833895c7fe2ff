import math

import numpy as np
import pytest

from absa.curvature.projection import Projection, Remainder, Ritz
from absa.curvature.stopping import (
    Aim,
    Knowledge,
    estimated_errors,
    next_remainder,
    verdict,
)
from absa.errors import MeasurementError
from absa.signals import FallTest


def known(values, residuals, upper=math.inf, rounding=0.0, remainders=2):
    """Two start vectors, and products whose remainders are as long as their Ritz residuals."""
    size = len(values)
    lengths = np.array(residuals[:remainders])
    projection = Projection(
        matrix=np.diag(values).astype(float),
        starts=np.ones((2, size)) / math.sqrt(size),
        remainders=tuple(Remainder(i, i, 1.0) for i in range(remainders)),
        gram=np.diag(lengths**2).astype(float),
        num_products=(size - 1, 1),
        dropped=0.0,
    )
    pairs = Ritz(np.array(values, float), np.eye(size), np.array(residuals, float))
    return Knowledge(projection, pairs, rounding, upper)


def aim(question=None, tolerance=0.05, ceiling=2.0, top=1, max_products=9):
    return Aim(top, tolerance, ceiling, question, max_products)


FELL_BELOW_5 = FallTest(10.0)
EXACT, ROUGH = [0.1, 0.1, 0.1], [3.0, 0.1, 0.1]


@pytest.mark.parametrize(
    ("aim", "known", "end"),
    [
        (aim(), known([8, 1, 0], EXACT, upper=16), "tolerance"),
        (aim(), known([8, 1, 0], EXACT, upper=16.1), None),
        (aim(), known([8, 1, 0], ROUGH, upper=9), None),
        (aim(ceiling=1.05), known([8, 1, 0], EXACT, upper=9), None),
        (aim(max_products=3), known([8, 1, 0], ROUGH), "budget"),
        (aim(), known([8, 1, 0], [0, 0, 0], upper=8, remainders=0), "tolerance"),
        (aim(FELL_BELOW_5), known([8, 1, 0], EXACT, upper=16), "not_fallen"),
        (aim(FELL_BELOW_5), known([8, 1, 0], ROUGH), "not_fallen"),
        (aim(FELL_BELOW_5), known([5.1, 1, 0], EXACT, rounding=0.2), None),
        (aim(FELL_BELOW_5), known([4, 1, 0], EXACT, upper=5.1), None),
        (aim(FELL_BELOW_5), known([4, 1, 0], EXACT, upper=5), "fallen"),
        (aim(FELL_BELOW_5), known([4, 1, 0], ROUGH, upper=5), None),
        (aim(FELL_BELOW_5), known([2, 1, 0], EXACT, upper=4.1), None),
        (aim(FELL_BELOW_5, max_products=3), known([4, 1, 0], ROUGH, upper=5), "fallen"),
        (aim(FELL_BELOW_5, max_products=3), known([4, 1, 0], EXACT, upper=5.1), "budget"),
        (aim(FELL_BELOW_5), known([5, 1, 0], [0, 0, 0], upper=5.1, remainders=0), "budget"),
        (aim(), known([-2, -3, -4], [0.01, 0, 0], upper=0), "tolerance"),
        (aim(), known([-2, -3, -4], [0.01, 0, 0], upper=0.1), None),
        (aim(), known([0, 0, 0], [0, 0, 0], upper=0), "tolerance"),
    ],
)
def test_a_measurement_ends_when_its_aim_is_reached(aim, known, end):
    assert verdict(aim, known) == end


def test_an_error_is_at_most_the_residual():
    assert estimated_errors(known([4, 3.9, 0], [0.5, 0.5, 0]).pairs, 1) == [0.5]


def test_a_gap_makes_the_error_the_square_of_the_residual():
    assert estimated_errors(known([4, 1.5, 0], [0.5, 0.5, 0]).pairs, 1) == [0.125]


def test_wanted_values_may_lie_close_together():
    assert estimated_errors(known([4, 4, 2], [0.5, 0.25, 0]).pairs, 2) == [0.125, 0.03125]


def test_without_an_unwanted_value_the_residual_is_all_that_is_known():
    assert estimated_errors(known([4, 3], [0.5, 0.2]).pairs, 3) == [0.5, 0.2]


def test_start_vectors_come_first():
    now = known([8, 1, 0], ROUGH)
    waiting = (Remainder(1, None, 1.0), Remainder(0, None, 1.0))
    projection = Projection(
        *(now.projection.matrix, now.projection.starts, waiting, now.projection.gram, (3, 0), 0.0)
    )
    assert next_remainder(aim(), Knowledge(projection, now.pairs, 0.0, math.inf)) == 1


def test_a_rough_value_is_improved_first():
    assert next_remainder(aim(), known([8, 1, 0], [3.0, 4.0, 0.1], upper=90)) == 0


def test_with_a_value_exact_enough_the_bound_is_improved():
    now = known([8, 1, 0], [0.1, 4.0, 0.1], upper=20)
    assert next_remainder(aim(), now) == 1


def test_a_value_that_cannot_reach_the_level_is_not_improved():
    now = known([4, 1, 0], [0.5, 4.0, 0.1], upper=20)
    assert next_remainder(aim(FELL_BELOW_5, 1e-3), now) == 1
    assert next_remainder(aim(FallTest(8.1), 1e-3), now) == 0


def test_a_value_that_has_fallen_is_improved():
    now = known([4, 1, 0], [0.5, 4.0, 0.1], upper=4.9)
    assert next_remainder(aim(FELL_BELOW_5, 1e-3), now) == 0


@pytest.mark.parametrize("reference", [0, -1, math.nan, math.inf])
def test_a_fall_needs_a_positive_reference(reference):
    with pytest.raises(MeasurementError, match="positive and finite"):
        FallTest(reference)


@pytest.mark.parametrize("factor", [1, 0, math.nan, math.inf])
def test_a_fall_needs_a_factor_above_one(factor):
    with pytest.raises(MeasurementError, match="above 1"):
        FallTest(1.0, factor)


@pytest.mark.parametrize("probability", [0, 0.6, math.nan])
def test_a_fall_needs_a_probability_of_failure(probability):
    with pytest.raises(MeasurementError, match="above 0 and at most"):
        FallTest(1.0, failure_probability=probability)
