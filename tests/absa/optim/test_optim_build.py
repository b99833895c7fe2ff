"""Optimizers built from their section, and what the loop does to them between updates."""

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from absa.errors import ConfigError, TaskError
from absa.optim.build import build_optimizer, rescale_momentum, set_learning_rate
from absa.optim.config import OptimizerConfig
from absa.optim.lars import LARS


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


def update(model, optimizer, seed=0):
    torch.manual_seed(seed)
    optimizer.zero_grad()
    model(torch.randn(8, 1, 3, 3)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adamw", AdamW), ("lars", LARS)])
def test_section_reaches_the_optimizer(name, kind):
    config = OptimizerConfig(name=name, lr=0.25, weight_decay=0.125)
    optimizer = build_optimizer(config, network())
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    options = {option: getattr(config, option) for option in config.reads[name]}
    options.pop("decay_one_dimensional", None)
    assert {option: group[option] for option in options} == options


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_one_dimensional_parameters_are_decayed_unless_told_otherwise(name):
    model = network()
    kept = build_optimizer(OptimizerConfig(name=name, decay_one_dimensional=False), model)
    decays = {
        group["weight_decay"]: {p.ndim > 1 for p in group["params"]} for group in kept.param_groups
    }
    default = OptimizerConfig(name=name).weight_decay
    assert decays == {default: {True}, 0.0: {False}}
    assert len(build_optimizer(OptimizerConfig(name=name), model).param_groups) == 1


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_built_optimizer_steps_like_the_unfused_one(name, dtype):
    models = [nn.Linear(8, 8).to(dtype) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    config = OptimizerConfig(name=name)
    optimizer = build_optimizer(config, models[0])
    options = {
        k: v for k, v in optimizer.defaults.items() if k in ("lr", "weight_decay", "momentum")
    }
    plain = type(optimizer)(models[1].parameters(), **options, fused=False)
    for _ in range(3):
        for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        optimizer.step()
        plain.step()
    tolerance = 4 * torch.finfo(dtype).eps
    assert torch.allclose(models[0].weight, models[1].weight, rtol=tolerance, atol=tolerance)


def test_shared_parameter_enters_once():
    (group,) = build_optimizer(OptimizerConfig(name="lars"), Tied()).param_groups
    assert len(group["params"]) == 3


def test_frozen_parameter_is_left_out():
    model = network()
    model[0].requires_grad_(False)
    (group,) = build_optimizer(OptimizerConfig(), model).param_groups
    assert len(group["params"]) == 4


@pytest.mark.parametrize("model", [nn.ReLU(), nn.Linear(2, 2).requires_grad_(False)])
def test_model_without_trainable_parameters_is_refused(model):
    with pytest.raises(TaskError, match=rf"{type(model).__name__} has no trainable parameter"):
        build_optimizer(OptimizerConfig(), model)


def test_learning_rate_reaches_every_group_and_tensors_in_place():
    weights = [torch.zeros(2, requires_grad=True) for _ in range(2)]
    tensor = torch.tensor(1.0)
    optimizer = LARS([{"params": weights[:1]}, {"params": weights[1:], "lr": tensor}], lr=0.5)
    set_learning_rate(optimizer, 0.125)
    assert optimizer.param_groups[0]["lr"] == 0.125
    assert optimizer.param_groups[1]["lr"] is tensor
    assert tensor.item() == 0.125


@pytest.mark.parametrize("lr", [-0.1, math.nan, math.inf])
def test_learning_rate_that_is_not_a_rate_is_refused(lr):
    with pytest.raises(ConfigError, match="finite and >= 0"):
        set_learning_rate(build_optimizer(OptimizerConfig(), network()), lr)


@pytest.mark.parametrize(
    ("section", "scaled"),
    [
        ({"name": "sgd"}, False),
        ({"name": "adamw"}, False),
        ({"name": "lars", "lr_placement": "outside"}, False),
        ({"name": "lars", "momentum": 0}, False),
        ({"name": "lars"}, True),
    ],
    ids=str,
)
def test_momentum_is_rescaled_only_where_it_holds_the_learning_rate(section, scaled):
    models = [network(), network()]
    optimizers = [build_optimizer(OptimizerConfig.model_validate(section), m) for m in models]
    for model, optimizer in zip(models, optimizers, strict=True):
        update(model, optimizer)
    rescale_momentum(optimizers[0], 4.0)
    for model, optimizer in zip(models, optimizers, strict=True):
        update(model, optimizer, seed=1)
    assert torch.equal(models[0][0].weight, models[1][0].weight) != scaled


@pytest.mark.parametrize("factor", [-1.0, math.nan, math.inf])
def test_momentum_factor_must_be_a_factor(factor):
    with pytest.raises(ConfigError, match="momentum factor"):
        rescale_momentum(build_optimizer(OptimizerConfig(name="lars"), network()), factor)
