import math
from dataclasses import replace

import pytest
from observations import EPOCH, LIMITS, curvature, noise, seen

from absa.policy.curvature_rule import CurvatureRule

RULE = CurvatureRule()
KNOWN = {"reference": 10.0}


def judged(observation, state=KNOWN, rule=RULE, limits=LIMITS):
    return rule.step(state, observation, limits)


def test_the_first_value_after_the_first_epoch_is_the_reference():
    state, _ = judged(seen(0.5, curvature=curvature(80.0)), {})
    assert "reference" not in state
    state, found = judged(seen(1.0, curvature=curvature(10.0)), state)
    assert state["reference"] == 10.0
    assert found.rule == "keep"


@pytest.mark.parametrize("value", [-3.0, 0.0, math.nan, math.inf])
def test_a_reference_is_positive_and_finite(value):
    state, _ = judged(seen(1.0, curvature=curvature(value)), {})
    assert state.get("reference") is None


def test_when_the_reference_is_taken_is_an_option():
    rule = CurvatureRule(reference_epochs=0.05)
    state, _ = judged(seen(0.05, curvature=curvature(80.0)), {}, rule)
    assert state["reference"] == 80.0


def test_an_eigenvalue_that_has_halved_doubles_the_batch_and_is_the_next_reference():
    state, found = judged(seen(3, curvature=curvature(4.8, upper=5.0)))
    assert (found.batch, found.rule) == (128, "eigenvalue")
    assert "10" in found.reason
    assert "4.8" in found.reason
    assert state == {"reference": 4.8, "reference_after": 3 * EPOCH, "growths": 1}


@pytest.mark.parametrize(
    ("value", "lower", "upper", "rule"),
    [
        (5.1, 5.05, 9.0, "keep"),
        (4.0, 4.0, 5.1, "undecided"),
        (4.0, 4.0, math.inf, "undecided"),
        (-5.0, -5.0, 5.1, "undecided"),
        (math.nan, math.nan, math.inf, "missing"),
    ],
)
def test_what_is_not_certain_keeps_the_batch(value, lower, upper, rule):
    state, found = judged(seen(3, curvature=curvature(value, lower, upper)))
    assert (found.batch, found.rule) == (64, rule)
    assert state == KNOWN


def test_the_same_measurement_does_not_count_twice():
    observation = seen(3, curvature=curvature(4.8))
    state, _ = judged(observation)
    again, found = judged(seen(3, 128, curvature=curvature(4.8)), state)
    assert (found.batch, again) == (128, state)


def test_patience_counts_from_the_last_change_of_the_batch_whoever_made_it():
    assert judged(seen(9.9, curvature=curvature(9.0)))[1].rule == "keep"
    found = judged(seen(10, curvature=curvature(9.0)))[1]
    assert (found.batch, found.rule) == (128, "patience")
    later = {"curvature": curvature(9.0), "batch_since": 10 * EPOCH}
    assert judged(seen(19.9, 128, **later))[1].rule == "keep"
    assert judged(seen(20, 128, **later))[1].rule == "patience"


def test_a_growth_by_patience_needs_a_new_reference_measured_after_it():
    state, _ = judged(seen(10, curvature=curvature(9.0)))
    assert state == {"reference": None, "reference_after": 10 * EPOCH, "growths": 1}
    old = {"curvature": curvature(9.0), "curvature_at": 10 * EPOCH, "batch_since": 10 * EPOCH}
    state, found = judged(seen(10.1, 128, **old), state)
    assert (state["reference"], found.rule) == (None, "missing")
    assert RULE.question(state) is None
    again = {"curvature": curvature(60.0), "batch_since": 10 * EPOCH}
    state, found = judged(seen(11, 128, **again), state)
    assert (state["reference"], found.rule) == (60.0, "keep")
    fallen = {"curvature": curvature(20.0), "batch_since": 10 * EPOCH}
    assert judged(seen(12, 128, **fallen), state)[1].rule == "eigenvalue"


def test_a_value_that_is_only_a_lower_bound_is_no_reference():
    early = replace(curvature(6.0, upper=40.0), stopped="not_fallen")
    assert judged(seen(2, curvature=early), {})[0] == {}


@pytest.mark.parametrize("changes", [{}, {"curvature": curvature(math.nan)}])
def test_patience_needs_no_signal(changes):
    assert judged(seen(9.9, **changes))[1].rule == "missing"
    assert judged(seen(10, **changes))[1].rule == "patience"


def test_a_measurement_older_than_patience_is_stale():
    old = {"curvature": curvature(4.0), "curvature_at": 2 * EPOCH}
    recent = {**old, "batch_since": 12 * EPOCH}
    assert judged(seen(12, **recent))[1].rule == "eigenvalue"
    assert judged(seen(12.1, **recent))[1].rule == "stale"


def test_it_ends_at_the_largest_batch():
    state, found = judged(seen(30, 1024, curvature=curvature(1.0)))
    assert (found.batch, found.rule, state) == (1024, "keep", KNOWN)


def test_the_question_is_the_rule():
    assert RULE.question({}) is None
    question = CurvatureRule(alpha=3.0).question(KNOWN)
    assert question.level == pytest.approx(10 / 3)


def test_the_adversarial_share_halves_with_each_growth_and_ends():
    rule = CurvatureRule(ratio=0.2)

    def ratio(epoch, batch=64, value=9.0, growths=0, limits=LIMITS):
        observation = seen(epoch, batch, curvature=curvature(value), noise=noise(1))
        state = {**KNOWN, "growths": growths}
        return judged(observation, state, rule, limits)[1].adversarial_ratio

    assert ratio(3) == 0.2
    assert ratio(3, value=4.0) == 0.1
    assert ratio(44.9, growths=1) == 0.05  # patience
    assert ratio(45) == 0.0
    assert ratio(3, batch=1024) == 0.0
    assert ratio(3, batch=512, value=4.0) == 0.0
    # An operator who allows no more for now ends nothing.
    bounded = replace(LIMITS, max_batch=128, of_job=1024)
    assert ratio(3, batch=128, growths=1, limits=bounded) == 0.1


def test_without_the_last_a_nothing_is_perturbed():
    assert judged(seen(3, curvature=curvature(4.0)))[1].adversarial_ratio == 0
