"""The policies that look at no signal."""

import pytest
from observations import LIMITS, seen

from absa.policy.clock import Clock
from absa.policy.fixed import Fixed
from absa.policy.limits import Limits
from absa.policy.schedule import InsteadOfDecay
from absa.policy.warming import Warming


def proposed(policy, observation):
    return policy.step({}, observation, LIMITS)[1]


def test_a_fixed_batch_is_kept_and_asks_nothing():
    assert proposed(Fixed(), seen(50, 128)).batch == 128
    assert Fixed().question({}) is None


@pytest.mark.parametrize(
    ("epoch", "batch", "due"), [(7.9, 64, 64), (8, 64, 128), (17, 128, 256), (17, 64, 128)]
)
def test_the_clock_doubles_every_eight_epochs(epoch, batch, due):
    found = proposed(Clock(64, 8.0), seen(epoch, batch))
    assert found.batch == due
    assert found.rule == ("clock" if due > batch else "keep")


def test_the_clock_does_not_take_back_what_is_larger():
    assert proposed(Clock(64, 8.0), seen(8, 512)).batch == 512


def test_the_clock_stops_at_the_largest_batch_however_late_it_is():
    found = proposed(Clock(64, 0.001), seen(89, 1024))
    assert (found.batch, found.rule) == (1024, "keep")


@pytest.mark.parametrize(
    ("decay", "due"), [(1.0, 64), (0.6, 64), (0.5, 128), (0.2, 320), (0.04, 1024), (0.0, 1024)]
)
def test_the_batch_grows_by_what_the_decay_has_taken(decay, due):
    found = proposed(InsteadOfDecay(64), seen(decay=decay))
    assert found.batch == due


def test_a_batch_above_the_limit_is_not_taken_back():
    found = InsteadOfDecay(64).step({}, seen(batch=256, decay=0.1), Limits(128, 64, 32))[1]
    assert (found.batch, found.rule) == (256, "keep")


def test_the_decay_is_not_replaced_twice():
    assert proposed(InsteadOfDecay(64), seen(batch=320, decay=0.2)).rule == "keep"
    assert proposed(InsteadOfDecay(64), seen(batch=320, decay=0.04)).batch == 1024


def test_a_warm_up_climbs_in_equal_ratios_and_reaches_its_batch():
    warming, batches, batch = Warming(64, 512, 3.0), [], 64
    for tenth in range(32):
        observation = seen(tenth / 10, batch)
        if not warming.is_over(observation, LIMITS):
            batch = warming.propose(observation, LIMITS).batch
        batches.append(batch)
    assert [batches.index(size) / 10 for size in (64, 128, 256, 512)] == [0, 1, 2, 3]
    assert warming.is_over(seen(2.0, 512), LIMITS)
    assert not warming.is_over(seen(9.0, 256), LIMITS)


def test_a_warm_up_that_is_not_allowed_to_go_on_is_over():
    assert Warming(64, 512, 3.0).is_over(seen(1.0, 128), Limits(128, 64, 32))
