"""Kernels that can be differentiated twice, in place of those that cannot or that take long."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from absa.models.ghost_batch_norm import GhostBatchNorm

Compiled = Literal["eager", "as_is"]
"""How code that somebody compiled with `torch.compile` runs in the meantime."""


@contextmanager
def twice_differentiable(model: nn.Module, compiled: Compiled) -> Iterator[None]:
    """Replace kernels; the caller puts the attributes of the modules back.

    Fused attention and recurrent layers of cuDNN have no double backward, recurrent layers of
    oneDNN no forward derivative, compiled graphs neither; sparse gradients cannot be flat.

    Args:
        model: In evaluation mode.
        compiled: eager: what `torch.compile` has made runs uncompiled. as_is: it does not, and
            modules keep their kernels, as changes to them would have them compiled again.
    """
    with ExitStack() as stack:
        # github.com/pytorch/pytorch/issues/116350 and 117974
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(_without_fast_path())
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(_switched_off(torch.backends.cudnn))
            stack.enter_context(_switched_off(torch.backends.mkldnn))
        for module in model.modules():
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                module.sparse = False
            if compiled == "eager" and _normalises_by_constants(module):
                vars(module)["forward"] = partial(_scale_and_shift, module)
        # Importing dynamo takes seconds: if nobody has, then nothing is compiled.
        if compiled == "eager" and "torch._dynamo" in sys.modules:
            # github.com/pytorch/pytorch/issues/91469
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


_FORWARDS = (_BatchNorm.forward, nn.SyncBatchNorm.forward, GhostBatchNorm.forward)


def _normalises_by_constants(module: nn.Module) -> TypeGuard[_BatchNorm]:
    return (
        isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and type(module).forward in _FORWARDS
        and "forward" not in vars(module)
    )


def _scale_and_shift(
    norm: _BatchNorm, x: Float[Tensor, "n c *space"]
) -> Float[Tensor, "n c *space"]:
    """Return what batch-norm returns in evaluation mode.

    Its kernel is made for statistics that depend on ``x``. Without them a product with the Hessian
    of resnet20 takes 7 to 20 % less time, with the Gauss-Newton matrix 13 to 35 % (CPU).
    """
    norm._check_input_dim(x)
    shape = (1, -1) + (1,) * (x.dim() - 2)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    shift = torch.zeros_like(scale) if norm.bias is None else norm.bias
    if norm.weight is not None:
        scale = scale * norm.weight
    centred = x - norm.running_mean.view(shape)
    return torch.addcmul(shift.view(shape), centred, scale.view(shape)).to(x.dtype)


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Keep a frozen transformer layer off kernels that know nothing of forward derivatives."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _switched_off(backend: Any) -> Iterator[None]:
    before = backend.enabled
    backend.enabled = False
    try:
        yield
    finally:
        backend.enabled = before
