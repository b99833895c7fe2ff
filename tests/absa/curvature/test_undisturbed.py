"""What is measured is afterwards, and all around it, what it was before, to the bit."""

import copy
import random
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curvature_problems import Attention, Recurrent, cut, make_problem
from engine import run_ranks
from torch import nn

from absa.curvature.forward_over_reverse import HessianForward
from absa.curvature.gauss_newton import GaussNewton
from absa.curvature.hessian import Hessian
from absa.curvature.pyhessian import PyHessianTracker
from absa.curvature.undisturbed import undisturbed


class Restless(nn.Module):
    """Draws from all there is, and changes itself in every way, in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.noise, self.last = nn.Dropout(0.5), nn.Linear(4, 3)
        self.calls = 0
        self.register_buffer("written", torch.zeros(3))
        self.register_buffer("secretly", torch.zeros(3))
        self.register_buffer("replaced", torch.zeros(3))
        self.register_buffer("none", None)

    def forward(self, x):
        self.calls += 1
        self.seen = x
        self.written += 1
        self.secretly.data.add_(1)
        self.replaced = self.replaced + 1
        assert self.norm.shared is self.written
        assert not any(module.training for module in self.modules())
        drawn = torch.rand(4) + random.random() + np.random.random() + self.written[0]
        x = self.first(x * drawn)
        self.written += x.detach().mean()
        return self.last(self.noise(torch.tanh(self.norm(x))))


def restless(**options):
    problem = make_problem()
    model = Restless().double()
    model.norm.register_buffer("shared", model.written)
    model.norm.eval()  # one module is in another mode than the rest
    model.first.weight.grad = torch.randn(4, 4, dtype=torch.float64)
    return replace(problem, model=model, **options)


def settings_of_torch():
    return (
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
        torch.backends.mkldnn.enabled,
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
    )


@contextmanager
def unchanged(model):
    """Fail if anything of the model, or anything that all of the process shares, has changed."""

    def look():
        tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        return {
            "tensors": {name: (id(t), t._version, t.dtype) for name, t in tensors.items()},
            "values": {name: t.detach().numpy().copy() for name, t in tensors.items()},
            "gradients": {
                name: p.grad is not None and (id(p.grad), p.grad.numpy().copy())
                for name, p in model.named_parameters()
            },
            "attributes": [sorted(vars(module)) for module in model.modules()],
            "modes": [module.training for module in model.modules()],
            "calls": getattr(model, "calls", None),
            "hooks": [len(module._forward_hooks) for module in model.modules()],
            "torch": torch.get_rng_state().numpy(),
            "numpy": np.random.get_state()[1:],
            "python": random.getstate(),
            "settings": settings_of_torch(),
        }

    before = look()
    yield
    after = look()
    for what, value in before.items():
        np.testing.assert_equal(after[what], value, what)


def measure_by(operator):
    def measure(problem):
        with operator(problem) as measured:
            vector = torch.linspace(-1, 1, measured.dim, dtype=measured.dtype)
            return torch.stack([measured.product(vector) for _ in range(2)])

    return measure


def measure_by_pyhessian(problem):
    _, curvature = PyHessianTracker(max_products=3).measure(problem, None)
    return torch.tensor(curvature.values)


MEASURES = {
    "hessian": measure_by(Hessian),
    "forward": measure_by(HessianForward),
    "gauss_newton": measure_by(GaussNewton),
    "pyhessian": measure_by_pyhessian,
}


@pytest.mark.parametrize("num_passes", [1, 3])
@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_measurement_changes_nothing(measure, num_passes):
    problem = restless()
    if num_passes == 3:
        problem = cut(problem, 1, 3)
    with unchanged(problem.model):
        measure(problem)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
@pytest.mark.parametrize("fatal", [1, 2])
def test_losses_that_raise_in_the_middle_change_nothing(measure, fatal):
    problem, calls = cut(restless(), 1, 3), []

    def losses(model, batch):
        found = problem.losses(model, batch)
        calls.append(None)
        if len(calls) == fatal:
            raise ZeroDivisionError
        return found

    with unchanged(problem.model), pytest.raises(ZeroDivisionError):
        measure(replace(problem, losses=losses))


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_model_that_draws_is_the_same_function_every_time(measure):
    problem = restless()
    first = measure(problem)
    torch.manual_seed(99)

    assert torch.equal(measure(problem), first)
    if measure is not measure_by_pyhessian:
        assert torch.equal(first[0], first[1])


@pytest.mark.parametrize(
    "around",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)],
    ids=["no_grad", "inference_mode", "autocast"],
)
@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_what_the_caller_has_switched_changes_nothing(measure, around):
    problem = make_problem("convolutional")
    problem = replace(problem, model=problem.model.float())
    problem.passes[0]["x"] = problem.passes[0]["x"].float()
    expected = measure(problem)

    with around():
        assert torch.equal(measure(problem), expected)


def test_hooks_see_nothing_and_are_there_again():
    problem, seen = make_problem("convolutional"), []
    weight = problem.model[0].weight
    expected = MEASURES["hessian"](problem)
    handle = weight.register_hook(lambda gradient: seen.append(gradient) or 2 * gradient)
    weight.register_post_accumulate_grad_hook(seen.append)
    problem.model[1].register_full_backward_hook(lambda *_: seen.append(None))
    problem.model[1].register_full_backward_pre_hook(lambda *_: seen.append(None))

    for measure in MEASURES.values():
        measure(problem)
    assert not seen
    assert torch.equal(MEASURES["hessian"](problem), expected)

    problem.losses(problem.model, problem.passes[0]).sum().backward()
    assert len(seen) == 4
    handle.remove()
    problem.losses(problem.model, problem.passes[0]).sum().backward()
    assert len(seen) == 7


@pytest.mark.parametrize(("network", "shape"), [(Attention, (6, 4)), (Recurrent, (6, 4))])
@pytest.mark.parametrize("operator", [Hessian, HessianForward, GaussNewton])
def test_fused_kernels_give_way_in_single_precision(operator, network, shape):
    torch.manual_seed(0)
    model, x = network(), torch.randn(shape)
    problem = replace(make_problem(), model=model, passes=[{"x": x, "y": torch.zeros(6).long()}])
    exact = replace(
        problem,
        model=copy.deepcopy(model).double(),
        passes=[{**problem.passes[0], "x": x.double()}],
    )
    measure = measure_by(operator)

    with unchanged(model):
        found = measure(problem)

    torch.testing.assert_close(found.double(), measure(exact), rtol=1e-4, atol=1e-5)


def test_ranks_that_are_threads_leave_their_process_as_it_was():
    problem = restless()
    alone = MEASURES["hessian"](problem)

    def work(rank):
        return MEASURES["hessian"](
            replace(problem, model=copy.deepcopy(problem.model), collective=rank)
        )

    with unchanged(problem.model):
        for found in run_ranks(3, work):
            torch.testing.assert_close(found, alone)


def test_modes_are_put_back_without_calling_the_users_code():
    class Merges(nn.Linear):
        def train(self, mode=True):
            raise AssertionError

    model = nn.Sequential(Merges(2, 2))
    with undisturbed(model):
        assert not model[0].training
    assert model[0].training


@pytest.mark.parametrize("failure", [nullcontext(), pytest.raises(KeyError)])
def test_settings_are_put_back(failure):
    model = nn.LSTM(2, 2)
    before = settings_of_torch()
    with failure, torch.no_grad(), undisturbed(model):
        assert torch.is_grad_enabled()
        assert settings_of_torch()[:6] == (False, True, False, False, False, False)
        if not isinstance(failure, nullcontext):
            raise KeyError
    assert settings_of_torch() == before


@pytest.mark.cpu_heavy
@pytest.mark.parametrize("operator", [Hessian, HessianForward, GaussNewton])
def test_a_compiled_model_is_measured_uncompiled(operator):
    problem = make_problem()
    expected = measure_by(operator)(problem)
    compiled = replace(problem, model=torch.compile(problem.model, backend="aot_eager"))
    assert "torch._dynamo" in sys.modules
    compiled.losses(compiled.model, problem.passes[0]).sum().backward()

    torch.testing.assert_close(measure_by(operator)(compiled), expected)
    torch.testing.assert_close(
        compiled.model(problem.passes[0]["x"]), problem.model(problem.passes[0]["x"])
    )


@pytest.mark.gpu
def test_a_gpu_is_left_as_it_was():
    problem = make_problem("recurrent")
    expected = measure_by(Hessian)(problem)
    batch = {name: tensor.cuda() for name, tensor in problem.passes[0].items()}
    problem = replace(problem, model=problem.model.cuda(), passes=[batch])
    state = torch.cuda.get_rng_state()

    for operator in (Hessian, GaussNewton):
        found = measure_by(operator)(problem)
        if operator is Hessian:
            torch.testing.assert_close(found.cpu(), expected)

    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert torch.backends.cudnn.enabled
    with undisturbed(problem.model):
        first = F.dropout(torch.ones(9, device="cuda"))
    with undisturbed(problem.model):
        assert torch.equal(F.dropout(torch.ones(9, device="cuda")), first)
