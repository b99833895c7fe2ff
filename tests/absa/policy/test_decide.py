import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import LIMITS, curvature, noise, seen

from absa.policy.build import Circumstances, build_decider
from absa.policy.config import PolicyConfig
from absa.policy.curvature_rule import CurvatureRule
from absa.policy.decide import Decider, PolicyState
from absa.policy.decided import Decided, as_values, from_values
from absa.policy.decision import Levers, Proposal
from absa.policy.fixed import Fixed
from absa.policy.following import Following
from absa.policy.limits import Limits
from absa.policy.stability import Stability
from absa.policy.warming import Warming

LINEAR = Following("linear", 64)
NEW = PolicyState()


class Wants:
    """A policy that wants one thing."""

    def __init__(self, batch, **more):
        self.proposal = Proposal(batch, "wanted", "because", **more)

    def step(self, state, observation, limits):
        return {"asked": 1 + int(state.get("asked") or 0)}, self.proposal

    def question(self, state):
        return None


def decided(policy, observation=None, limits=LIMITS, **options):
    options = {"following": LINEAR, **options}
    decider = Decider("wants", policy, **options)
    return decider.decide(NEW, observation or seen(), limits)[1]


def test_the_learning_rate_follows_the_batch():
    found = decided(Wants(128))
    assert (found.after, found.limited_by) == (Levers(128, 2.0, 0.0), ())


def test_a_policy_may_say_what_the_learning_rate_does():
    assert decided(Wants(128, lr_factor=0.5)).after.lr_scale == 0.5


def test_the_largest_batch_bounds_a_proposal_and_says_so():
    found = decided(Wants(4096))
    assert (found.after.batch, found.after.lr_scale) == (1024, 16)
    assert found.limited_by == ("the largest batch is 1024",)


def test_the_smallest_batch_bounds_it_too():
    assert decided(Wants(10), seen(batch=128)).after.batch == 64


def test_a_batch_is_made_of_whole_groups():
    assert decided(Wants(200)).after.batch == 192


def test_an_operator_holds_everything():
    known, observation = PolicyState("wants", {"asked": 3}), seen()
    decider = Decider("wants", Wants(128), LINEAR)
    after, found = decider.decide(known, observation, Limits(1024, hold=True))
    assert after == known
    assert found.rule == "hold"
    assert not found.changes


def test_the_memory_of_another_policy_is_not_used():
    decider = Decider("wants", Wants(128), LINEAR)
    after, _ = decider.decide(PolicyState("other", {"asked": 7}), seen(), LIMITS)
    assert after == PolicyState("wants", {"asked": 1})


def test_growth_of_the_learning_rate_stops_below_the_limit_of_stability():
    guard = Stability(momentum=0.9, margin=0.5)
    found = decided(Wants(256), seen(curvature=curvature(10.0)), stability=guard)
    # 0.5 * 2 * 1.9 / 10 = 0.19, at a base learning rate of 0.1
    assert found.after.batch == 256
    assert found.after.lr_scale == pytest.approx(1.9)
    assert "1.9 times, not 4" in found.limited_by[0]


def test_a_learning_rate_that_is_above_the_limit_already_is_not_lowered():
    guard = Stability(momentum=0.9, margin=0.5)
    observation = seen(batch=128, curvature=curvature(100.0))
    found = decided(Wants(256), observation, stability=guard)
    assert found.after.lr_scale == observation.lr_scale


def test_what_the_guard_held_back_is_made_up_for_when_it_may():
    guard = Stability(momentum=0.9, margin=0.5)
    observation = seen(batch=256, lr_scale=1.9, curvature=curvature(5.0))
    found = decided(Fixed(), observation, stability=guard)
    assert (found.rule, found.after.batch) == ("rate", 256)
    assert found.after.lr_scale == pytest.approx(3.8)


def test_nesterov_momentum_has_a_lower_limit():
    plain, nesterov = Stability(0.9, 1.0), Stability(0.9, 1.0, nesterov=True)
    observation = seen(curvature=curvature(10.0))
    assert plain.highest_scale(observation) == pytest.approx(3.8)
    assert nesterov.highest_scale(observation) == pytest.approx(3.8 / 2.8)


@pytest.mark.parametrize(
    "unknown",
    [
        {},
        {"curvature": curvature(float("nan"))},
        {"curvature": replace(curvature(1.0, upper=10.0), stopped="not_fallen")},
        {"curvature": replace(curvature(1.0), stopped="budget")},
    ],
)
def test_without_an_exact_curvature_the_guard_lets_nothing_grow(unknown):
    guard = Stability(momentum=0.9, margin=0.5)
    found = decided(Wants(256), seen(**unknown), stability=guard)
    assert (found.after.batch, found.after.lr_scale) == (256, 1.0)
    assert "not known" in found.limited_by[0]


def test_who_guards_wants_the_value_of_the_curvature():
    guarded = Decider("abs", CurvatureRule(), LINEAR, Stability(0.9, 1.0))
    known = PolicyState("abs", {"reference": 10.0})
    assert guarded.question(known).exact
    assert not replace(guarded, stability=None).question(known).exact


def test_a_share_alone_has_a_rule_of_its_own():
    found = decided(Wants(64, adversarial_ratio=0.1), seen(adversarial_ratio=0.2))
    assert (found.rule, found.after.adversarial_ratio) == ("share", 0.1)


def test_a_policy_without_an_adversary_ends_what_another_began():
    assert decided(Fixed(), seen(adversarial_ratio=0.2)).after.adversarial_ratio == 0


def test_a_noise_scale_that_is_not_resolved_moves_no_learning_rate():
    gain = Following("gain", 64)
    lost = seen(batch=256, lr_scale=3.0, noise=noise(100))
    assert not decided(Fixed(), lost, following=gain).changes


@pytest.mark.parametrize("value", [-1.0, 0.0])
def test_a_curvature_that_is_not_positive_bounds_nothing(value):
    guard = Stability(momentum=0.9, margin=0.5)
    found = decided(Wants(256), seen(curvature=curvature(value)), stability=guard)
    assert found.after.lr_scale == 4


def test_small_changes_of_the_gain_are_not_told():
    gain = Following("gain", 64)
    observation = seen(batch=256, lr_scale=2.0, noise=noise(64, 300, 128))
    assert not decided(Fixed(), observation, following=gain).changes
    risen = seen(batch=256, lr_scale=2.0, noise=noise(200, 300, 256))
    found = decided(Fixed(), risen, following=gain)
    assert found.rule == "rate"
    assert found.after.lr_scale == pytest.approx(5 / 2)


def test_without_the_noise_scale_the_gain_leaves_the_learning_rate():
    found = decided(Wants(128), following=Following("gain", 64))
    assert (found.after.batch, found.after.lr_scale) == (128, 1.0)
    assert "has not been measured" in found.limited_by[0]


def test_a_warm_up_comes_before_the_policy():
    warming = Warming(64, 256, 2.0)
    assert decided(Wants(1024), seen(1.0), warming=warming).after.batch == 128
    assert decided(Wants(1024), seen(2.0, 256), warming=warming).after.batch == 1024


def test_what_is_remembered_survives_json():
    known = PolicyState("wants", {"reference": 0.1 + 0.2, "grown_at": 3, "other": None})
    decision = Decider("wants", Wants(4096), LINEAR).decide(known, seen(), LIMITS)[1]
    waiting = Decided(decision, known)
    assert from_values(json.loads(json.dumps(as_values(waiting)))) == waiting


KINDS = ["fixed", "clock", "schedule", "abs", "absa", "noise_scale", "hybrid"]
walks = st.lists(
    st.tuples(st.floats(0.01, 3), st.floats(-1, 50), st.floats(1, 4000), st.booleans()),
    max_size=30,
)


@pytest.mark.parametrize("kind", KINDS)
@given(walks)
def test_a_run_stays_within_its_limits_and_asking_twice_changes_nothing(kind, walk):
    config = PolicyConfig(kind=kind, lr_margin=1.0)
    decider = build_decider(config, Circumstances(64, LINEAR, 0.9, 90.0))
    known, batch, scale, ratio, epoch = NEW, 64, 1.0, 0.2, 0.0
    for step, eigenvalue, lower, resolved in walk:
        epoch += step
        observation = seen(
            *(epoch, batch),
            lr_scale=scale,
            adversarial_ratio=ratio,
            decay=max(1 - epoch / 90, 0.01),
            curvature=curvature(eigenvalue, upper=1.2 * abs(eigenvalue)),
            noise=noise(lower, 2 * lower, 1.5 * lower if resolved else None),
        )
        after, found = decider.decide(known, observation, LIMITS)
        assert (after, found) == decider.decide(known, observation, LIMITS)
        assert LIMITS.min_batch <= found.after.batch <= LIMITS.max_batch
        assert found.after.batch % LIMITS.unit == 0
        assert found.after.lr_scale > 0
        assert 0 <= found.after.adversarial_ratio <= 0.2
        known, batch, scale = after, found.after.batch, found.after.lr_scale
        ratio = found.after.adversarial_ratio
