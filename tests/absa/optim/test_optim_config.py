"""The optimizer section: defaults by name, and refusal of what would be ignored."""

import json

import pytest
from pydantic import ValidationError

from absa.optim.config import OptimizerConfig

NAMES = ["sgd", "adamw", "lars"]


@pytest.mark.parametrize("name", NAMES)
def test_resolved_section_can_be_read_back(name):
    config = OptimizerConfig(name=name)
    assert OptimizerConfig.model_validate(json.loads(config.model_dump_json())) == config
    assert OptimizerConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize("name", NAMES)
def test_everything_the_optimizer_reads_has_a_default(name):
    config = OptimizerConfig(name=name)
    assert all(getattr(config, option) is not None for option in config.reads[name])


@pytest.mark.parametrize("name", NAMES)
def test_options_of_other_optimizers_stay_unset(name):
    config = OptimizerConfig(name=name)
    unset = set(OptimizerConfig.model_fields) - set(config.reads[name]) - {"name"}
    assert all(getattr(config, option) is None for option in unset)


@pytest.mark.parametrize(
    ("name", "option", "value", "readers"),
    [
        ("adamw", "nesterov", True, "sgd or lars"),
        ("adamw", "momentum", 0.9, "sgd or lars"),
        ("sgd", "betas", [0.9, 0.99], "adamw"),
        ("sgd", "trust_coefficient", 0.001, "lars"),
        ("sgd", "eps", 1e-8, "adamw or lars"),
        ("lars", "decay_one_dimensional", False, "sgd or adamw"),
    ],
)
def test_option_that_would_not_be_read_is_refused_with_those_who_read_it(
    name, option, value, readers
):
    with pytest.raises(ValidationError) as error:
        OptimizerConfig.model_validate({"name": name, option: value})
    message = str(error.value)
    assert f"{option} = {json.dumps(value)}" in message
    assert f"name = {name}" in message
    assert f"choose name = {readers}" in message


def test_null_is_the_same_as_leaving_an_option_out():
    assert OptimizerConfig.model_validate({"name": "adamw", "nesterov": None, "lr": None}) == (
        OptimizerConfig(name="adamw")
    )


def test_nesterov_without_momentum_names_both():
    with pytest.raises(ValidationError, match=r"nesterov = true needs momentum > 0"):
        OptimizerConfig(nesterov=True, momentum=0)


@pytest.mark.parametrize(
    "section",
    [
        {"lr": -1},
        {"momentum": 1},
        {"weight_decay": -1},
        {"name": "adamw", "betas": [0.9, 1.0]},
        {"name": "adamw", "betas": [0.9]},
        {"name": "lars", "trust_coefficient": 0},
        {"name": "lars", "exclude": "bias"},
        {"name": "lamb"},
        {"name": None},
        {"learning_rate": 1},
    ],
)
def test_value_out_of_range_is_refused(section):
    with pytest.raises(ValidationError):
        OptimizerConfig.model_validate(section)
