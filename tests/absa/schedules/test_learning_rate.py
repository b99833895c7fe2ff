"""The learning rate over a run: published values, continuity, and schedules that cannot be."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from absa.errors import ConfigError
from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
from absa.schedules.learning_rate import learning_rate
from absa.schedules.scaling import scaling_factor

NUM_TRAIN = 1000
EPOCHS = 90
TOTAL = EPOCHS * NUM_TRAIN
GOYAL = {
    "scaling": "linear",
    "reference_batch": 256,
    "warmup": {"kind": "gradual", "epochs": 5},
    "decay": {"kind": "steps", "epochs": [30, 60, 80], "factor": 0.1},
}


def schedule(total=TOTAL, lr=0.1, **changes):
    config = ScheduleConfig.model_validate({**GOYAL, **changes})
    return learning_rate(lr, config, NUM_TRAIN, total)


def at_epoch(rate, epoch, batch=8192):
    return rate.at(round(epoch * NUM_TRAIN), batch)


@pytest.mark.parametrize(
    ("epoch", "lr"),
    [(0, 0.1), (2.5, 1.65), (5, 3.2), (29.999, 3.2), (30, 0.32), (60, 0.032), (80, 0.0032)],
)
def test_goyals_schedule_for_batch_8192(epoch, lr):
    assert at_epoch(schedule(), epoch) == pytest.approx(lr)


@pytest.mark.parametrize(("rule", "factor"), [("linear", 32), ("sqrt", math.sqrt(32)), ("none", 1)])
def test_scaling_rules(rule, factor):
    assert scaling_factor(rule, 8192, 256) == pytest.approx(factor)
    assert at_epoch(schedule(scaling=rule), 10) == pytest.approx(0.1 * factor)


@given(
    rule=st.sampled_from(["linear", "sqrt", "none"]),
    small=st.integers(1, 10**6),
    growth=st.integers(1, 100),
    reference=st.integers(1, 10**4),
)
def test_scaling_is_one_at_the_reference_and_multiplies(rule, small, growth, reference):
    assert scaling_factor(rule, reference, reference) == 1
    whole = scaling_factor(rule, small * growth, reference)
    parts = scaling_factor(rule, small, reference) * scaling_factor(rule, growth, 1)
    assert whole == pytest.approx(parts)


def test_constant_warm_up_holds_the_unscaled_rate_and_jumps():
    rate = schedule(warmup={"kind": "constant", "epochs": 5})
    assert at_epoch(rate, 0) == at_epoch(rate, 4.999) == pytest.approx(0.1)
    assert at_epoch(rate, 5) == pytest.approx(3.2)


@pytest.mark.parametrize("warmup", [{"kind": "none"}, {"kind": "gradual", "epochs": 0}])
def test_without_warm_up_the_scaled_rate_comes_first(warmup):
    assert schedule(warmup=warmup).at(0, 8192) == pytest.approx(3.2)


def test_gradual_warm_up_adds_the_same_at_every_update():
    rate = schedule()
    rates = [rate.at(samples, 8192) for samples in range(0, 5001, 250)]
    steps = [b - a for a, b in pairwise(rates)]
    assert steps == pytest.approx([3.1 / 20] * 20)


@pytest.mark.parametrize("kind", ["constant", "gradual"])
def test_warm_up_never_begins_above_the_rate_it_leads_to(kind):
    rate = schedule(warmup={"kind": kind, "epochs": 5})
    rates = [at_epoch(rate, epoch, batch=64) for epoch in (0, 2, 4.999, 5, 10)]
    assert rates == pytest.approx([0.025] * 5)


def test_batch_that_grows_during_the_warm_up_changes_its_slope():
    rate = schedule()
    assert at_epoch(rate, 2.5, 512) == pytest.approx(0.15)
    assert at_epoch(rate, 2.5, 1024) == pytest.approx(0.25)


@pytest.mark.parametrize(("progress", "share"), [(0, 1), (1 / 3, 0.75), (0.5, 0.5), (1, 0)])
def test_cosine_runs_from_the_end_of_the_warm_up_to_the_end(progress, share):
    rate = schedule(decay={"kind": "cosine"})
    assert at_epoch(rate, 5 + 85 * progress) == pytest.approx(3.2 * share, abs=1e-4)


def test_cosine_ends_at_its_fraction_of_the_peak():
    rate = schedule(decay={"kind": "cosine", "end_fraction": 0.25})
    assert at_epoch(rate, 90) == pytest.approx(0.8)
    assert at_epoch(rate, 90, batch=256) == pytest.approx(0.025)


@pytest.mark.parametrize(("progress", "share"), [(0, 1), (0.5, 0.25), (0.9, 0.01), (1, 0)])
def test_polynomial_of_power_two_is_the_square_of_what_is_left(progress, share):
    rate = schedule(decay={"kind": "polynomial"})
    assert at_epoch(rate, 5 + 85 * progress) == pytest.approx(3.2 * share, abs=1e-9)


def test_polynomial_ends_at_the_same_rate_for_every_batch():
    rate = schedule(decay={"kind": "polynomial", "power": 2, "end_lr": 1e-4})
    assert at_epoch(rate, 90) == at_epoch(rate, 90, batch=256) == pytest.approx(1e-4)


def test_polynomial_does_not_climb_to_an_end_above_a_small_batchs_peak():
    rate = schedule(decay={"kind": "polynomial", "end_lr": 0.05}, warmup={"kind": "none"})
    assert at_epoch(rate, 0, batch=64) == at_epoch(rate, 90, batch=64) == pytest.approx(0.025)


def test_fractions_are_of_the_whole_run():
    by_fraction = schedule(decay={"kind": "steps", "fractions": [1 / 3, 2 / 3, 8 / 9]})
    by_epoch = schedule()
    for epoch in (0, 29.9, 30.1, 59.9, 60.1, 79.9, 80.1, 90):
        assert at_epoch(by_fraction, epoch) == at_epoch(by_epoch, epoch)


def test_warm_up_as_long_as_training_is_allowed():
    rate = schedule(decay={"kind": "cosine"}, warmup={"kind": "gradual", "epochs": 90})
    assert at_epoch(rate, 45) == pytest.approx(1.65)
    assert at_epoch(rate, 90) == 0


DECAYS = st.sampled_from(
    [
        {"kind": "none"},
        {"kind": "cosine", "end_fraction": 0.1},
        {"kind": "polynomial", "power": 1.5, "end_lr": 0.01},
        {"kind": "steps", "fractions": [0.5, 0.75], "factor": 0.2},
    ]
)


@given(
    decay=DECAYS,
    epochs=st.floats(0, 90),
    batch=st.integers(1, 10**5),
    samples=st.integers(0, TOTAL),
)
@settings(max_examples=200)
def test_rate_stays_between_zero_and_the_scaled_rate(decay, epochs, batch, samples):
    rate = schedule(decay=decay, warmup={"kind": "gradual", "epochs": epochs})
    assert 0 <= rate.at(samples, batch) <= 0.1 * batch / 256 * (1 + 1e-12)


@given(
    decay=DECAYS.filter(lambda decay: decay["kind"] != "steps"),
    epochs=st.floats(0.5, 80),
    samples=st.integers(0, 2 * TOTAL),
)
@settings(max_examples=200)
def test_gradual_warm_up_and_smooth_decays_have_no_jump(decay, epochs, samples):
    rate = schedule(decay=decay, warmup={"kind": "gradual", "epochs": epochs})
    slope = 3.2 * (1 / (epochs * NUM_TRAIN) + math.pi / ((EPOCHS - epochs) * NUM_TRAIN))
    assert abs(rate.at(samples + 1, 8192) - rate.at(samples, 8192)) <= slope


@given(decay=DECAYS, samples=st.integers(5 * NUM_TRAIN, 2 * TOTAL))
@settings(max_examples=100)
def test_rate_never_climbs_after_the_warm_up(decay, samples):
    rate = schedule(decay=decay)
    assert rate.at(samples + 100, 8192) <= rate.at(samples, 8192) + 1e-12


@pytest.mark.parametrize(
    ("decay", "named"),
    [
        ({"kind": "cosine"}, "kind = cosine needs"),
        ({"kind": "polynomial"}, "kind = polynomial needs"),
        ({"kind": "steps", "fractions": [0.5]}, "kind = steps with schedule.decay.fractions needs"),
    ],
)
def test_decay_that_needs_an_end_says_so_when_there_is_none(decay, named):
    with pytest.raises(ConfigError, match=rf"schedule.decay.{named}.*stop.epochs"):
        schedule(total=None, decay=decay)


@pytest.mark.parametrize("decay", [{"kind": "none"}, {"kind": "steps", "epochs": [30]}])
def test_other_decays_need_no_end(decay):
    assert at_epoch(schedule(total=None, decay=decay), 10) == pytest.approx(3.2)


def test_warm_up_longer_than_training_names_both():
    with pytest.raises(ConfigError, match=r"schedule.warmup.epochs = 5 .*stop.epochs .*4 epochs"):
        schedule(total=4 * NUM_TRAIN)


def test_warm_up_of_all_epochs_is_not_longer_than_a_training_of_half_samples():
    config = ScheduleConfig.model_validate({**GOYAL, "warmup": {"epochs": 0.5}})
    assert learning_rate(0.1, config, 1797, round(0.5 * 1797)).at(898, 256) == pytest.approx(0.1)


def test_end_above_the_learning_rate_names_both():
    with pytest.raises(ConfigError, match=r"schedule.decay.end_lr = 0.2 .*optimizer.lr = 0.1"):
        schedule(decay={"kind": "polynomial", "end_lr": 0.2})


@pytest.mark.parametrize(
    ("decay", "message"),
    [
        ({"kind": "cosine", "power": 2}, "power = 2.0 is not read where kind = cosine"),
        ({"kind": "none", "factor": 0.1}, "choose kind = steps"),
        ({"kind": "steps"}, "epochs or fractions, one of the two; got neither"),
        ({"kind": "steps", "epochs": [1], "fractions": [0.5]}, "got both"),
        ({"kind": "steps", "epochs": [60, 30]}, r"epochs must ascend, got \[60.0, 30.0\]"),
        ({"kind": "steps", "fractions": [0.5, 0.5]}, "fractions must ascend"),
        ({"kind": "steps", "fractions": [1.0]}, "less than 1"),
        ({"kind": "steps", "epochs": []}, "at least 1 item"),
        ({"kind": "polynomial", "power": 0}, "greater than 0"),
        ({"kind": "exponential"}, "kind"),
    ],
)
def test_decay_that_contradicts_itself_is_refused(decay, message):
    with pytest.raises(ValidationError, match=message):
        DecayConfig.model_validate(decay)


@pytest.mark.parametrize("kind", ["none", "cosine", "polynomial"])
def test_resolved_decay_can_be_read_back(kind):
    config = DecayConfig(kind=kind)
    assert DecayConfig.model_validate_json(config.model_dump_json()) == config


def test_negative_warm_up_is_refused():
    with pytest.raises(ValidationError):
        WarmupConfig(epochs=-1)
