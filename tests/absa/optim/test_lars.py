"""LARS against the paper's ten lines in float64, and what it promises besides."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from absa.errors import ConfigError, TaskError
from absa.optim.lars import LARS
from absa.optim.lars_cpu import BUFFER, SCALE, Entry
from absa.optim.lars_foreach import step_on_device
from absa.optim.trust_ratio import LarsOptions, trust_ratio, trust_ratios

PAPER = {
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "trust_coefficient": 1e-3,
    "eps": 0.0,
    "nesterov": False,
    "exclude": "none",
    "adaptation": "scale",
    "lr_placement": "inside",
}
VARIANTS = [
    {},
    {"nesterov": True},
    {"exclude": "one_dimensional"},
    {"adaptation": "clip"},
    {"lr_placement": "outside"},
    {"momentum": 0.0},
    {"weight_decay": 0.0},
    {"eps": 1e-3},
    {"nesterov": True, "lr_placement": "outside", "exclude": "one_dimensional"},
    {"adaptation": "clip", "lr_placement": "outside", "trust_coefficient": 0.5},
    {"adaptation": "clip", "nesterov": True, "trust_coefficient": 0.5},
]
SHAPES = [(4, 3, 2, 2), (5, 7), (6,), ()]


def reference_step(w, g, v, lr, o):
    """The paper's algorithm and the documented options, one line per formula; returns (w, v)."""
    excluded = o["exclude"] == "one_dimensional" and w.ndim <= 1
    decay = 0.0 if excluded else o["weight_decay"]
    wn, gn = w.norm().item(), g.norm().item()
    ratio = 1.0
    if not excluded and wn > 0 and gn > 0:
        ratio = o["trust_coefficient"] * wn / (gn + decay * wn + o["eps"])
        if o["adaptation"] == "clip":
            ratio = min(ratio / lr, 1.0) if lr else 1.0
    inner, outer = (lr, 1.0) if o["lr_placement"] == "inside" else (1.0, lr)
    d = inner * ratio * (g + decay * w)
    v = o["momentum"] * v + d
    return w - outer * (o["momentum"] * v + d if o["nesterov"] else v), v


def moving_lr(step):
    """Warm-up, a stretch of exactly zero in the middle, decay over many orders of magnitude."""
    if 20 <= step < 23:
        return 0.0
    return min(step + 1, 10) / 10 * 3.0 * 0.5 ** max(0, step - 30)


def gradients(step, dtype=torch.float64):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in SHAPES]


def start(dtype=torch.float64):
    return [p.requires_grad_() for p in gradients(10_000, dtype)]


def momentum(optimizer, param):
    state = optimizer.state[param]
    return state[BUFFER] * state[SCALE]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_fifty_steps_equal_the_ten_line_reference(variant):
    options = {**PAPER, **variant}
    params = start()
    optimizer = LARS(params, lr=1.0, **options)
    weights = [p.detach().clone() for p in params]
    buffers = [torch.zeros_like(p) for p in params]
    for step in range(50):
        optimizer.param_groups[0]["lr"] = moving_lr(step)
        for i, g in enumerate(gradients(step)):
            params[i].grad = g
            weights[i], buffers[i] = reference_step(
                weights[i], g, buffers[i], moving_lr(step), options
            )
        optimizer.step()
        for p, w, v in zip(params, weights, buffers, strict=True):
            assert torch.allclose(p.detach(), w, rtol=1e-12, atol=1e-13)
            if options["momentum"]:
                assert torch.allclose(momentum(optimizer, p), v, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("lr_kind", ["float", "tensor"])
def test_device_form_equals_the_reference(variant, lr_kind):
    options = LarsOptions(**{**PAPER, **variant})
    params = start()
    weights = [p.detach().clone() for p in params]
    buffers = [torch.zeros_like(p) for p in params]
    entries_state = [{BUFFER: torch.zeros_like(p), SCALE: 1.0} for p in params]
    for step in range(50):
        lr = moving_lr(step)
        grads = gradients(step)
        with torch.no_grad():
            entries = [Entry(*parts) for parts in zip(params, grads, entries_state, strict=True)]
            value = torch.tensor(lr, dtype=torch.float64) if lr_kind == "tensor" else lr
            step_on_device(entries, value, options, None)
        for i, g in enumerate(gradients(step)):
            weights[i], buffers[i] = reference_step(
                weights[i], g, buffers[i], lr, {**PAPER, **variant}
            )
            assert torch.equal(grads[i], g)
            assert torch.allclose(params[i].detach(), weights[i], rtol=1e-12, atol=1e-13)
