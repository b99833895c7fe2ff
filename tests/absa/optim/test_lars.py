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
from absa.optim.lars_cpu import BUFFER, SCALE, Entry, norm
from absa.optim.lars_foreach import _adapted_directions, _scaled, step_on_device
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


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_weights_follow_the_reference_within_their_precision(dtype, variant):
    options = {**PAPER, **variant, "trust_coefficient": 0.1}
    params, wide = start(dtype), [p.double() for p in start(dtype)]
    buffers = [torch.zeros_like(p) for p in wide]
    optimizer = LARS(params, lr=0.5, **options)
    for step in range(5):
        for i, g in enumerate(gradients(step, dtype)):
            params[i].grad = g
            wide[i], buffers[i] = reference_step(
                wide[i].detach(), g.double(), buffers[i], 0.5, options
            )
        optimizer.step()
    tolerance = 4 * torch.finfo(dtype).eps
    for p, w in zip(params, wide, strict=True):
        assert (p.double() - w).norm() <= tolerance * w.norm()


def test_trust_ratio_of_bfloat16_weights_is_not_rounded_to_bfloat16():
    weight = torch.full((1000, 10), 1.0, dtype=torch.bfloat16)
    grad = torch.full_like(weight, 3.0)
    norms = [float(t.double().norm()) for t in (weight, grad)]
    ratio = trust_ratio(*norms, 1.0, LarsOptions(**PAPER))
    weight.requires_grad_().grad = grad
    optimizer = LARS([weight], lr=1.0, **PAPER)
    optimizer.step()
    assert optimizer.state[weight][SCALE] == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize(
    ("weight_norm", "grad_norm", "quotient"),
    [(0.098, 0.017, 5.76), (6.4, 0.005, 1345), (0.316, 0.016, 19)],
    ids=["conv1.w", "fc6.w", "fc8.w"],
)
def test_ratio_of_norms_is_that_of_the_papers_table_2(weight_norm, grad_norm, quotient):
    options = LarsOptions(**{**PAPER, "weight_decay": 0.0})
    ratio = trust_ratio(weight_norm, grad_norm, 1.0, options) / options.trust_coefficient
    assert ratio == pytest.approx(quotient, rel=0.06)  # the table rounds the norms


@pytest.mark.parametrize("adaptation", ["scale", "clip"])
@pytest.mark.parametrize("lr", [0.0, 0.3, 30.0])
def test_scalar_and_vector_forms_of_the_ratio_agree(adaptation, lr):
    options = LarsOptions(**{**PAPER, "adaptation": adaptation, "trust_coefficient": 0.1})
    cases = [
        (0.0, 1.0),
        (1.0, 0.0),
        (0.0, 0.0),
        (2.0, 3.0),
        (1e3, 1e-3),
        (math.inf, 1.0),
        (1.0, math.nan),
    ]
    weights, grads = torch.tensor(cases, dtype=torch.float64).unbind(1)
    expected = torch.tensor([trust_ratio(w, g, lr, options) for w, g in cases], dtype=torch.float64)
    assert torch.allclose(trust_ratios(weights, grads, lr, options), expected, equal_nan=True)


@pytest.mark.parametrize("zero", ["weights", "gradient"])
def test_tensor_with_a_zero_norm_takes_a_plain_sgd_step(zero):
    weight, grad = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    (weight if zero == "weights" else grad).zero_()
    before = weight.clone()
    weight.requires_grad_().grad = grad
    LARS([weight], lr=0.1, weight_decay=0.01).step()
    assert torch.allclose(weight.detach(), before - 0.1 * (grad + 0.01 * before), rtol=1e-14)


@given(scale=st.floats(-20, 20).map(lambda e: 10.0**e), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_step_does_not_depend_on_the_scale_of_the_gradient(scale, seed):
    def stepped(factor, dtype):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(5, 3, generator=generator).to(dtype).requires_grad_()
        optimizer = LARS([weight], lr=1.0, weight_decay=0.0)
        for _ in range(3):
            weight.grad = torch.randn(5, 3, generator=generator).to(dtype) * factor
            optimizer.step()
        return weight.detach()

    assert torch.allclose(stepped(scale, torch.float64), stepped(1.0, torch.float64), rtol=1e-12)
    assert torch.allclose(stepped(scale, torch.float32), stepped(1.0, torch.float32), rtol=1e-5)


@given(seed=st.integers(0, 99), lr=st.floats(1e-3, 10), trust=st.floats(1e-4, 0.1))
@settings(max_examples=40)
def test_first_step_is_the_trusted_share_of_the_norm(seed, lr, trust):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    before = weight.clone()
    weight.requires_grad_().grad = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    LARS([weight], lr=lr, weight_decay=0.0, trust_coefficient=trust).step()
    assert float((weight.detach() - before).norm() / before.norm()) == pytest.approx(lr * trust)


def run(optimizer, params, steps):
    for step in steps:
        optimizer.param_groups[0]["lr"] = moving_lr(step)
        for p, g in zip(params, gradients(step, params[0].dtype), strict=True):
            p.grad = g
        optimizer.step()


@pytest.mark.parametrize("stop", [1, 19, 21, 24, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_resumed_run_is_bit_identical(stop, dtype):
    params = start(dtype)
    optimizer = LARS(params, lr=1.0)
    run(optimizer, params, range(stop))
    copies = [p.detach().clone().requires_grad_() for p in params]
    resumed = LARS(copies, lr=1.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(optimizer, params, range(stop, 45))
    run(resumed, copies, range(stop, 45))
    for p, q in zip(params, copies, strict=True):
        assert torch.equal(p, q)
        assert torch.equal(momentum(optimizer, p), momentum(resumed, q))


def test_gradients_are_never_written_to():
    params = start()
    for p, g in zip(params, gradients(0), strict=True):
        p.grad = g
    for variant in VARIANTS:
        LARS(params, lr=1.0, **{**PAPER, **variant}).step()
    for p, g in zip(params, gradients(0), strict=True):
        assert torch.equal(p.grad, g)


@pytest.mark.parametrize("broken", [1.0, 0.0])
def test_found_inf_decides_whether_a_step_changes_anything(broken):
    params = start()
    optimizer = LARS(params, lr=1.0)
    run(optimizer, params, range(3))
    weights = [p.detach().clone() for p in params]
    buffers = [momentum(optimizer, p).clone() for p in params]
    optimizer.found_inf = torch.tensor(broken)
    if broken:
        for p in params:
            p.grad.fill_(math.nan)
    optimizer.step()
    for p, w, v in zip(params, weights, buffers, strict=True):
        assert torch.equal(p.detach(), w) == bool(broken)
        assert torch.equal(momentum(optimizer, p), v) == bool(broken)


def test_found_inf_stops_the_device_form_too():
    params, state = start(), []
    state = [{BUFFER: torch.ones_like(p), SCALE: 1.0} for p in params]
    weights = [p.detach().clone() for p in params]
    grads = [torch.full_like(p, math.nan) for p in params]
    with torch.no_grad():
        entries = [Entry(*parts) for parts in zip(params, grads, state, strict=True)]
        step_on_device(entries, 1.0, LarsOptions(**PAPER), torch.tensor(1.0))
    for p, w, s in zip(params, weights, state, strict=True):
        assert torch.equal(p.detach(), w)
        assert torch.equal(s[BUFFER], torch.ones_like(p))


@pytest.mark.parametrize("lr", [0.7, torch.tensor(0.7)], ids=["float", "tensor"])
def test_device_form_rounds_a_bfloat16_direction_once(lr):
    grads = [torch.randn(s).bfloat16() for s in [(8, 8), (5,), ()]]
    entries = [Entry(torch.ones_like(g), g, {}) for g in grads]
    options = LarsOptions(**{**PAPER, "weight_decay": 0.0, "trust_coefficient": 0.1})
    for entry, got in zip(entries, _adapted_directions(entries, lr, options), strict=True):
        ratio = trust_ratio(norm(entry.param), norm(entry.grad), 0.7, options)
        assert torch.allclose(got.double(), entry.grad.double() * 0.7 * ratio, rtol=2**-8)
    for got, grad in zip(_scaled(grads, lr), grads, strict=True):
        assert torch.allclose(got.double(), grad.double() * 0.7, rtol=2**-8)


def test_learning_rate_inside_equals_outside_while_it_is_constant_and_not_in_a_warm_up():
    def weights(placement, rates):
        params = start()
        optimizer = LARS(params, lr=1.0, lr_placement=placement)
        for step, lr in enumerate(rates):
            optimizer.param_groups[0]["lr"] = lr
            for p, g in zip(params, gradients(step), strict=True):
                p.grad = g
            optimizer.step()
        return torch.cat([p.detach().flatten() for p in params])

    constant, warming = [0.5] * 20, [0.05 * (step + 1) for step in range(20)]
    assert torch.allclose(weights("inside", constant), weights("outside", constant), rtol=1e-12)
    assert not torch.allclose(weights("inside", warming), weights("outside", warming), rtol=1e-6)


@pytest.mark.parametrize("factor", [8.0, 0.25, 0.0])
def test_momentum_correction_makes_inside_equal_outside_across_a_jump(factor):
    inside, outside = start(), start()
    optimizers = LARS(inside, lr=1.0), LARS(outside, lr=1.0, lr_placement="outside")
    for step in range(20):
        for optimizer, params in zip(optimizers, (inside, outside), strict=True):
            if step == 10:
                optimizer.param_groups[0]["lr"] = factor
                optimizer.rescale_momentum(factor)
            for p, g in zip(params, gradients(step), strict=True):
                p.grad = g
            optimizer.step()
        if factor or step <= 10:
            for p, q in zip(inside, outside, strict=True):
                assert torch.allclose(p, q, rtol=1e-12)


def test_learning_rate_may_be_a_tensor_that_is_written_in_place():
    params, twins = start(), start()
    lr = torch.tensor(1.0, dtype=torch.float64)
    by_tensor, by_float = LARS(params, lr=lr), LARS(twins, lr=1.0)
    for step in range(5):
        lr.fill_(moving_lr(step))
        by_float.param_groups[0]["lr"] = moving_lr(step)
        for p, q, g in zip(params, twins, gradients(step), strict=True):
            p.grad, q.grad = g, g.clone()
        by_tensor.step()
        by_float.step()
    assert all(torch.equal(p, q) for p, q in zip(params, twins, strict=True))


def test_parameter_without_a_gradient_keeps_weight_and_momentum():
    params = start()
    optimizer = LARS(params, lr=1.0)
    run(optimizer, params, range(3))
    weight, buffer = params[1].detach().clone(), momentum(optimizer, params[1]).clone()
    params[1].grad = None
    optimizer.param_groups[0]["lr"] = 0.01
    optimizer.step()
    assert torch.equal(params[1].detach(), weight)
    assert torch.equal(momentum(optimizer, params[1]), buffer)


@pytest.mark.parametrize("drop", [1e-8, 1e-30, 1e-44, 1e-300])
@pytest.mark.parametrize("nesterov", [False, True])
def test_collapsing_learning_rate_neither_overflows_nor_loses_momentum(drop, nesterov):
    params, wide = start(torch.float32), [p.detach().double() for p in start(torch.float32)]
    options = {**PAPER, "nesterov": nesterov}
    buffers = [torch.zeros_like(p) for p in wide]
    optimizer = LARS(params, lr=1.0, **options)
    for step in range(30):
        lr = drop if 10 <= step < 20 else 1.0
        optimizer.param_groups[0]["lr"] = lr
        for i, g in enumerate(gradients(step, torch.float32)):
            params[i].grad = g
            wide[i], buffers[i] = reference_step(wide[i], g.double(), buffers[i], lr, options)
        optimizer.step()
        for p, w in zip(params, wide, strict=True):
            assert (p.double() - w).norm() <= 1e-5 * w.norm()


@pytest.mark.parametrize("grad_layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_does_not_change_the_step(grad_layout):
    plain = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    permuted = plain.clone(memory_format=torch.channels_last)
    optimizers = [LARS([w.requires_grad_()], lr=1.0) for w in (plain, permuted)]
    for _ in range(3):
        grad = torch.randn(4, 3, 5, 5, dtype=torch.float64)
        plain.grad, permuted.grad = grad, grad.clone(memory_format=grad_layout)
        for optimizer in optimizers:
            optimizer.step()
    assert torch.allclose(plain, permuted, rtol=1e-12)


def test_groups_override_every_option_and_may_come_later():
    first, second = (torch.randn(3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = LARS([first], lr=1.0)
    changed = {
        **PAPER,
        "momentum": 0.5,
        "weight_decay": 0.1,
        "nesterov": True,
        "adaptation": "clip",
    }
    optimizer.add_param_group({"params": [second], "lr": 0.2, **changed})
    alone = second.detach().clone().requires_grad_()
    twin = LARS([alone], lr=0.2, **changed)
    for _ in range(3):
        for p in (first, second):
            p.grad = torch.randn(3, 3, dtype=torch.float64)
        alone.grad = second.grad.clone()
        optimizer.step()
        twin.step()
    assert torch.equal(second, alone)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lr", -1.0),
        ("lr", math.nan),
        ("lr", torch.ones(2)),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("trust_coefficient", 0.0),
        ("eps", -1.0),
        ("exclude", "bias"),
        ("adaptation", "cut"),
        ("lr_placement", "beside"),
    ],
)
def test_option_out_of_range_is_named(option, value):
    with pytest.raises(ConfigError, match=option):
        LARS([torch.zeros(2, 2, requires_grad=True)], **{"lr": 1.0, option: value})


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ConfigError, match="nesterov needs momentum"):
        LARS([torch.zeros(2, requires_grad=True)], lr=1.0, momentum=0.0, nesterov=True)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.float16), "float16"),
        (torch.zeros(2, 2, dtype=torch.complex64), "complex64"),
        (torch.zeros(4, 4)[:, ::2], "one stretch of memory"),
    ],
)
def test_parameter_that_cannot_be_stepped_is_refused_and_not_kept(param, message):
    optimizer = LARS([torch.zeros(2, requires_grad=True)], lr=1.0)
    with pytest.raises(TaskError, match=message):
        optimizer.add_param_group({"params": [param.requires_grad_()]})
    assert len(optimizer.param_groups) == 1


def test_sparse_gradient_is_refused_before_anything_changes():
    dense = torch.ones(2, 2, requires_grad=True)
    embedding = nn.Embedding(5, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    dense.grad = torch.ones(2, 2)
    with pytest.raises(TaskError, match="sparse=False"):
        LARS([dense, embedding.weight], lr=1.0).step()
    assert torch.equal(dense, torch.ones(2, 2))


def test_closure_is_evaluated_with_gradients_and_its_loss_returned():
    weight = torch.ones(2, 2, requires_grad=True)
    optimizer = LARS([weight], lr=1.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert not torch.equal(weight, torch.ones(2, 2))


def test_gradient_that_is_not_finite_shows_in_the_weights():
    weight = torch.ones(2, 2, requires_grad=True)
    weight.grad = torch.full((2, 2), math.inf)
    LARS([weight], lr=1.0).step()
    assert weight.isnan().all()
