"""The state of an optimizer through a checkpoint: bit for bit, or refused."""

import copy
import json
import math

import pytest
import torch
from torch import nn

from absa.errors import CheckpointError
from absa.optim.build import build_optimizer
from absa.optim.checkpoint import load_optimizer_state, optimizer_state
from absa.optim.config import OptimizerConfig

SECTIONS = [
    {"name": "sgd"},
    {"name": "sgd", "momentum": 0},
    {"name": "sgd", "nesterov": True, "decay_one_dimensional": False},
    {"name": "adamw"},
    {"name": "lars"},
    {"name": "lars", "nesterov": True, "lr_placement": "outside", "exclude": "none"},
]


def network():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


def pair(section):
    model = network()
    return model, build_optimizer(OptimizerConfig.model_validate(section), model)


def train(model, optimizer, seeds):
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        optimizer.zero_grad()
        model(torch.randn(8, 1, 3, 3, generator=generator)).square().mean().backward()
        optimizer.step()


def through_a_file(tensors, values):
    """What safetensors and JSON keep: contiguous copies and numbers as text."""
    return {n: t.contiguous().clone() for n, t in tensors.items()}, json.loads(json.dumps(values))


@pytest.mark.parametrize("section", SECTIONS, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_resumed_run_is_bit_identical(section, layout):
    model, optimizer = pair(section)
    model.to(memory_format=layout)
    train(model, optimizer, range(3))
    resumed = copy.deepcopy(model)
    fresh = build_optimizer(OptimizerConfig.model_validate(section), resumed)
    load_optimizer_state(fresh, resumed, *through_a_file(*optimizer_state(optimizer, model)))
    train(model, optimizer, range(3, 6))
    train(resumed, fresh, range(3, 6))
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_names_are_those_of_the_parameters():
    model, optimizer = pair({"name": "lars"})
    train(model, optimizer, range(1))
    tensors, values = optimizer_state(optimizer, model)
    assert tensors.keys() == {f"{n}/momentum_buffer" for n, _ in model.named_parameters()}
    assert isinstance(values["0.weight/momentum_scale"], float)


def test_shared_weight_appears_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    optimizer = build_optimizer(OptimizerConfig(), model)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    tensors, _ = optimizer_state(optimizer, model)
    assert sorted(tensors) == [f"{n}/momentum_buffer" for n in ("0.bias", "0.weight", "1.bias")]


def test_optimizer_that_never_stepped_round_trips():
    model, optimizer = pair({"name": "adamw"})
    tensors, values = optimizer_state(optimizer, model)
    load_optimizer_state(optimizer, model, tensors, values)
    assert tensors == {}
    assert not optimizer.state


def test_loaded_tensors_are_copies():
    model, optimizer = pair({"name": "sgd"})
    train(model, optimizer, range(1))
    tensors, values = optimizer_state(optimizer, model)
    _, other = pair({"name": "sgd"})
    other = build_optimizer(OptimizerConfig(), model)
    load_optimizer_state(other, model, tensors, values)
    before = tensors["0.weight/momentum_buffer"].clone()
    train(model, other, range(1))
    assert torch.equal(tensors["0.weight/momentum_buffer"], before)


def remove(name):
    def spoil(tensors, values):
        tensors.pop(name, None)
        values.pop(name, None)

    return spoil


def put(name, value):
    def spoil(tensors, values):
        (tensors if isinstance(value, torch.Tensor) else values)[name] = value

    return spoil


@pytest.mark.parametrize(
    ("section", "spoil", "message"),
    [
        ("sgd", remove("0.weight/momentum_buffer"), "lacks optimizer state: 0.weight/momentum"),
        ("lars", remove("3.bias/momentum_scale"), "lacks optimizer state: 3.bias/momentum_scale"),
        ("sgd", put("9.weight/momentum_buffer", torch.ones(1)), "belongs to nothing: 9.weight"),
        ("sgd", put("0.weight/step", 3), "belongs to nothing: 0.weight/step"),
        ("sgd", put("3.bias/momentum_buffer", torch.ones(7)), r"3.bias/momentum_buffer is .*\[7\]"),
        ("sgd", put("3.bias/momentum_buffer", torch.ones(2).double()), "float64"),
        ("adamw", put("3.bias/step", torch.ones(2)), "3.bias/step must be a scalar"),
        ("lars", put("3.bias/momentum_scale", math.nan), "must be a finite number, got nan"),
        ("lars", put("3.bias/momentum_scale", "1"), "must be a finite number, got '1'"),
        ("sgd", put("optimizer", "Muon"), "'Muon'"),
        ("sgd", remove("optimizer"), "None"),
        ("sgd", remove("entries"), "'entries', got None"),
        ("sgd", put("entries", {"0.weight": "momentum_buffer"}), "'entries', got"),
        ("sgd", put("entries", {"7.weight": ["momentum_buffer"]}), "not trained here: 7.weight"),
    ],
)
def test_spoiled_state_is_refused_and_the_optimizer_left_alone(section, spoil, message):
    model, optimizer = pair({"name": section})
    train(model, optimizer, range(1))
    tensors, values = through_a_file(*optimizer_state(optimizer, model))
    before = copy.deepcopy(optimizer.state_dict()["state"])
    spoil(tensors, values)
    with pytest.raises(CheckpointError, match=message):
        load_optimizer_state(optimizer, model, tensors, values)
    after = optimizer.state_dict()["state"]
    assert str(after) == str(before)


def test_model_of_other_parameters_is_refused():
    _, optimizer = pair({"name": "sgd"})
    with pytest.raises(CheckpointError, match="Sequential does not have"):
        optimizer_state(optimizer, network())
