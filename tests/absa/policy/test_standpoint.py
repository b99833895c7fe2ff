"""What a policy sees, and whether what it decided is still wanted."""

from dataclasses import replace

import pytest

from absa.policy.decided import overtaken
from absa.policy.decision import Decision, Levers
from absa.policy.limits import Limits
from absa.policy.standpoint import Course, Heard, limits_under, see
from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
from absa.schedules.learning_rate import learning_rate
from absa.settings import Settings

SCHEDULE = ScheduleConfig(
    scaling="sqrt",
    reference_batch=4,
    warmup=WarmupConfig(kind="none"),
    decay=DecayConfig(kind="cosine"),
)
COURSE = Course(100, 400, learning_rate(0.1, SCHEDULE, 100, 400))
SETTINGS = Settings(16, 8)
GROWTH = Decision(40, Levers(16, 2.0, 0.0), Levers(32, 4.0, 0.0), "noise", "")


def test_without_a_scale_of_its_own_the_batch_contributes_what_the_rule_says():
    assert see(COURSE, SETTINGS, Heard(), 200, 20).lr_scale == 2.0
    assert see(COURSE, replace(SETTINGS, lr_scale=3.0), Heard(), 200, 20).lr_scale == 3.0


def test_the_base_rate_is_that_of_the_schedule_at_this_point():
    seen = see(COURSE, SETTINGS, Heard(loss=0.5), 200, 20)
    assert (seen.base_lr, seen.decay) == pytest.approx((0.05, 0.5))
    assert (seen.loss, seen.progress, seen.epoch) == (0.5, 0.5, 2.0)


@pytest.mark.parametrize(("asked", "largest"), [(None, 64), (32, 32), (128, 64)])
def test_an_operator_can_lower_the_largest_batch_and_not_raise_it(asked, largest):
    limits = limits_under(replace(SETTINGS, max_batch=asked, hold=True), Limits(64, 4, 2))
    assert limits == Limits(largest, 4, 2, of_job=64, hold=True)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"micro_batch": 2}, None),
        ({"max_batch": 32}, None),
        ({"hold": True}, "holds"),
        ({"global_batch": 24}, "has set the batch to 24"),
        ({"max_batch": 24}, "at most 24"),
    ],
)
def test_a_decision_is_overtaken_by_what_an_operator_has_set_since(changed, why):
    found = overtaken(GROWTH, replace(SETTINGS, **changed))
    assert found is None if why is None else found is not None and why in found


def test_a_bound_below_the_batch_in_force_does_not_overtake_what_keeps_it():
    kept = replace(GROWTH, after=replace(GROWTH.before, lr_scale=1.0))
    assert overtaken(kept, replace(SETTINGS, max_batch=8)) is None
