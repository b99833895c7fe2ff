"""Differentiating a model so that it is afterwards, and all around it, what it was before."""

import random
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from absa.curvature.kernels import Compiled, twice_differentiable

# Random state and the choice of kernels belong to the process: of several ranks in one process,
# each a thread, only one may have set them aside.
_ONE_AT_A_TIME = threading.RLock()

_SEED = 0
"""Any number does, as long as it stays the same."""


@contextmanager
def undisturbed(model: nn.Module, compiled: Compiled = "eager") -> Iterator[None]:
    """Let ``model`` be evaluated and differentiated, then put everything back, bit for bit.

    Inside, all modules are in evaluation mode, gradients can be taken whatever the caller has
    switched off, nothing is cast to a smaller type, and each entering begins with the same random
    state, so a model that draws is the same function every time. Kernels that cannot be
    differentiated twice (fused attention, fused recurrent layers, compiled graphs) give way to
    plain ones, and gradients are dense.

    Backward hooks, of parameters and of modules, see nothing: these gradients are not those of an
    update. The model works on copies of its buffers, so it may write to them.

    Afterwards each module's mode, buffers and other attributes are what they were, and so is the
    random state of torch, numpy and Python. Nothing writes ``.grad`` where gradients are taken by
    `torch.autograd.grad`. Not covered are parameters that a forward pass itself writes to, and
    state that a model keeps outside of its modules.

    Args:
        model: The bare module, on the CPU or CUDA devices.
        compiled: eager: code compiled by `torch.compile` runs uncompiled.
    """
    devices = {t.device for t in (*model.parameters(), *model.buffers())}
    with ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)
        # Even under inference_mode: first, for what is made under that never has a gradient.
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_modules_put_back(model))
        stack.enter_context(_hooks_set_aside(list(model.parameters())))
        stack.enter_context(_same_random_state(devices))
        stack.enter_context(twice_differentiable(model, compiled))
        for kind in {device.type for device in devices}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def _modules_put_back(model: nn.Module) -> Iterator[None]:
    """Set mode, buffers and backward hooks aside; put them back, and what else has changed."""
    before = [(module, dict(vars(module)), dict(module._buffers)) for module in model.modules()]
    copies: dict[Tensor, Tensor] = {}  # a buffer may hang on several modules
    try:
        for module, _, buffers in before:
            # Not by model.eval(): a class of the user may do more in it, such as merging weights.
            module.training = False
            module._backward_hooks, module._backward_pre_hooks = OrderedDict(), OrderedDict()
            for name, buffer in buffers.items():
                if buffer is not None:
                    module._buffers[name] = copies.setdefault(buffer, buffer.detach().clone())
        yield
    finally:
        for module, attributes, buffers in before:
            _restore(vars(module), attributes)
            _restore(module._buffers, buffers)


def _restore(now: dict[str, Any], before: dict[str, Any]) -> None:
    for name in now.keys() - before.keys():
        del now[name]
    now.update(before)


@contextmanager
def _hooks_set_aside(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Keep hooks of parameters from being called, also from changing gradients."""
    # `torch.autograd.grad` calls them; torch has no public way to pause them.
    before = [(p, p._backward_hooks) for p in parameters if p._backward_hooks]
    try:
        for parameter, _ in before:
            parameter._backward_hooks = None
        yield
    finally:
        for parameter, hooks in before:
            parameter._backward_hooks = hooks


@contextmanager
def _same_random_state(devices: set[torch.device]) -> Iterator[None]:
    on_gpu = [torch.cuda.default_generators[d.index] for d in devices if d.type == "cuda"]
    generators = [torch.default_generator, *on_gpu]
    states = [generator.get_state() for generator in generators]
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        for generator in generators:
            generator.manual_seed(_SEED)
        np.random.seed(_SEED)
        random.seed(_SEED)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        np.random.set_state(of_numpy)
        random.setstate(of_python)
