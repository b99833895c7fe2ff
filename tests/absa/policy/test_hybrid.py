from observations import EPOCH, LIMITS, curvature, noise, seen

from absa.policy.curvature_rule import CurvatureRule
from absa.policy.hybrid import Hybrid
from absa.policy.noise_rule import NoiseRule

HYBRID = Hybrid(NoiseRule(), CurvatureRule(), most=4.0)
KNOWN = {"reference": 10.0}


def judged(observation, state=KNOWN):
    return HYBRID.step(state, observation, LIMITS)


def test_far_below_the_noise_scale_it_grows_at_once_and_patience_begins_anew():
    state, found = judged(seen(3, curvature=curvature(9.0), noise=noise(400)))
    assert (found.batch, found.rule) == (128, "noise")
    assert state == {"reference": None, "reference_after": 3 * EPOCH, "growths": 1}


def test_in_between_a_fallen_eigenvalue_grows_it():
    state, found = judged(seen(3, curvature=curvature(4.0), noise=noise(40, 60, 50)))
    assert (found.batch, found.rule) == (128, "eigenvalue")
    assert state["reference"] == 4.0
    assert found.numbers["noise_scale"] == 50


def test_far_above_the_noise_scale_nothing_does():
    for changes in ({"curvature": curvature(4.0)}, {"curvature": curvature(9.0)}):
        state, found = judged(seen(30, noise=noise(10, 40, 20), **changes))
        assert (found.batch, found.rule) == (64, "bounded")
        assert state == KNOWN
    assert "4 times the noise scale" in found.reason


def test_a_noise_scale_that_is_not_resolved_counts_with_its_lower_end():
    assert judged(seen(3, curvature=curvature(4.0), noise=noise(33)))[1].rule == "eigenvalue"
    assert judged(seen(3, curvature=curvature(4.0), noise=noise(31)))[1].rule == "bounded"


def test_without_the_noise_scale_nothing_grows():
    _, found = judged(seen(3, curvature=curvature(4.0)))
    assert (found.rule, found.batch) == ("bounded", 64)


def test_a_first_reference_is_remembered_even_when_growth_is_not_allowed():
    state, found = judged(seen(30, curvature=curvature(8.0), noise=noise(1, 2, 1.5)), {})
    assert found.rule == "bounded"
    assert state == {"reference": 8.0}


def test_it_asks_what_the_curvature_rule_asks():
    assert HYBRID.question({}) is None
    assert HYBRID.question(KNOWN).level == 5
