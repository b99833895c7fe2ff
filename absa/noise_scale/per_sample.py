"""The norms of single samples' gradients, for small networks: every sample is a unit."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map

from absa.curvature.problem import Losses
from absa.errors import MeasurementError
from absa.models.ghost_batch_norm import GhostBatchNorm
from absa.noise_scale.pass_norms import norm
from absa.noise_scale.sample import NormSample
from absa.task import Batch


def per_sample_norms(
    model: nn.Module, losses: Losses, batch: Batch, *, chunk_size: int | None = None
) -> NormSample:
    """Return the norms of every sample's gradient and of their mean's.

    No other cut says more of one batch. It costs a forward and a backward pass beside training's
    own, and memory for as many gradients as samples go through at once. The model is left as it is;
    dropout and the like draw a mask for each sample from torch's random state.

    Args:
        model: Without batch-norm in training mode, which couples samples; every operation must be
            one that `torch.func.vmap` knows.
        losses: One loss per sample, such as `absa.task.Task.losses`.
        batch: At least two samples.
        chunk_size: How many samples' gradients are held at once; None: all.

    Returns:
        Norms of the trainable parameters, in their order; every sample weighs 1.

    Raises:
        MeasurementError: Samples are coupled, or there are fewer than two.
    """
    _check_apart(model)
    num_samples = len(tree_leaves(batch)[0])
    if num_samples < 2:
        raise MeasurementError("one sample says nothing of the noise; give at least two")
    bound = _Bound(model, losses)
    trained = {n: p.detach() for n, p in bound.named_parameters() if p.requires_grad}
    chunk = chunk_size or num_samples

    def loss(parameters: dict[str, Tensor], sample: Batch) -> Tensor:
        alone = tree_map(lambda tensor: tensor.unsqueeze(0), sample)
        losses_of_one: Tensor = functional_call(bound, parameters, (alone,))
        return losses_of_one.squeeze(0)

    gradients = vmap(grad(loss), in_dims=(None, 0), randomness="different")
    sums = {name: torch.zeros_like(p) for name, p in trained.items()}
    squares = torch.zeros(len(trained), dtype=torch.float64)
    for first in range(0, num_samples, chunk):
        piece = tree_map(lambda tensor, a=first: tensor[a : a + chunk], batch)
        found = gradients(trained, piece)
        squares += _squared_norms(found)
        for name, each in found.items():
            sums[name] += each.sum(0)
    mean = {name: total / num_samples for name, total in sums.items()}
    return NormSample(
        num_samples=num_samples,
        weight=float(num_samples),
        gradient=tuple(_squared_norms(mean).tolist()),
        units=tuple(squares.tolist()),
        samples_per_weight=float(num_samples),
    )


class _Bound(nn.Module):
    """Makes ``losses(model, batch)`` a module, whose parameters `functional_call` can replace."""

    def __init__(self, model: nn.Module, losses: Losses) -> None:
        super().__init__()
        self.model = model
        self._losses = losses

    def forward(self, batch: Batch) -> Float[Tensor, " samples"]:
        return self._losses(self.model, batch)


def _squared_norms(tensors: dict[str, Tensor]) -> Float[Tensor, " tensors"]:
    return torch.stack([norm(t) for t in tensors.values()]).cpu().double().square()


def _check_apart(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm | GhostBatchNorm) and module.training:
            raise MeasurementError(
                f"{name or 'the model'} is a {type(module).__name__} in training mode: there a "
                "sample's gradient depends on the others; put it into evaluation mode, or take "
                "whole batch-norm groups as units"
            )
