import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import noise, seen

from absa.noise_scale.predict import gain
from absa.policy.following import Following

batches = st.integers(1, 100_000)


@pytest.mark.parametrize(("rule", "scale"), [("linear", 4), ("sqrt", 2), ("none", 1)])
def test_rules_without_a_signal(rule, scale):
    assert Following(rule, 64).target(256, seen()) == scale


def test_the_gain_needs_the_noise_scale():
    following = Following("gain", 64)
    assert following.target(256, seen()) is None
    assert following.target(256, seen(noise=noise(0))) is None
    assert following.target(256, seen(noise=noise(64, 300, 128))) == pytest.approx(3 / 1.5)
    assert following.target(256, seen(noise=noise(64))) == pytest.approx(2 / 1.25)


@given(st.floats(1e-3, 1e7), batches, batches)
def test_a_gain_is_between_one_and_the_linear_rule(scale, batch, reference):
    found = gain(max(batch, reference), reference, scale)
    assert 1 - 1e-9 <= found <= max(batch, reference) / reference * (1 + 1e-9)
    assert found <= 1 + scale / reference + 1e-9


def test_far_below_the_noise_scale_the_gain_is_linear_and_far_above_it_is_bounded():
    assert gain(1024, 64, 1e9) == pytest.approx(16, rel=1e-5)
    assert gain(10**9, 64, 64) == pytest.approx(2, rel=1e-5)


def test_the_gain_is_the_ratio_of_expected_squared_norms():
    """AdaScale's definition, with made-up gradients: E|mean of b0|^2 / E|mean of b|^2."""
    trace, squared, b0, b = 300.0, 2.0, 8, 32
    expected = (trace / b0 + squared) / (trace / b + squared)
    assert gain(b, b0, trace / squared) == pytest.approx(expected)
    assert math.isfinite(expected)
