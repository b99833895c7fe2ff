import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import LIMITS, noise, seen

from absa.policy.noise_rule import NoiseRule


def judged(batch, lower, upper=math.inf, **options):
    return NoiseRule(**options).judge(seen(batch=batch, noise=noise(lower, upper)), LIMITS)


@pytest.mark.parametrize(
    ("lower", "batch"), [(127, 64), (128, 128), (5000, 128), (0, 64), (math.nan, 64)]
)
def test_it_grows_one_rung_where_that_is_certainly_not_above_the_noise_scale(lower, batch):
    assert judged(64, lower).batch == batch


def test_a_lower_bound_alone_is_enough():
    found = judged(64, 200)
    assert (found.batch, found.rule) == (128, "noise")
    assert found.reason == "the noise scale is at least 200"


def test_the_ratio_is_that_of_batch_and_noise_scale():
    assert judged(64, 64, ratio=2.0).batch == 128
    assert judged(64, 200, ratio=0.5).batch == 64


def test_without_a_measurement_it_keeps():
    assert NoiseRule().step({}, seen(), LIMITS)[1].rule == "missing"


def test_it_shrinks_only_if_told_to_and_by_a_whole_rung_of_excess():
    assert judged(256, 10, 100).batch == 256
    assert judged(256, 10, 127, shrinks=True).batch == 128
    assert judged(256, 10, 128, shrinks=True).batch == 256


def test_the_largest_batch_is_not_exceeded():
    assert judged(1024, 1e9).rule == "keep"


@given(st.floats(1, 1e6), st.floats(1, 4), st.sampled_from([64, 128, 256, 512, 1024]))
def test_one_interval_never_asks_for_growth_and_shrinking_in_turn(lower, width, batch):
    rule, upper = NoiseRule(shrinks=True), lower * width
    sizes = []
    for _ in range(8):
        batch = rule.judge(seen(batch=batch, noise=noise(lower, upper)), LIMITS).batch
        sizes.append(batch)
    rising, falling = sorted(sizes), sorted(sizes, reverse=True)
    assert sizes in (rising, falling)
