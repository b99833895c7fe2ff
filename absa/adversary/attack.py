"""Perturbs a share of the samples that go through the model together, and leaves no trace."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from absa.adversary.fgsm import fgsm
from absa.adversary.inputs import Inputs, checked_inputs, perturbable
from absa.curvature.undisturbed import undisturbed
from absa.errors import TaskError
from absa.task import Batch
from absa.update.replica import Replica, each_tensor

Losses = Callable[[Batch, int], Float[Tensor, " samples"]]
"""The losses of a batch of so many samples."""


def attacked(positions: Int64[np.ndarray, " n"], ratio: float) -> Bool[np.ndarray, " n"]:
    """Return which samples are perturbed, by their positions in the epoch alone.

    Position p is if ``floor((p + 1) ratio) > floor(p ratio)``. So of any n consecutive samples
    n * ratio are, rounded down or up: every batch-norm group and every unit has the same share, for
    what differs between units would be taken for gradient noise.

    Args:
        positions: In the epoch, >= 0.
        ratio: Share that is perturbed, in [0, 1].
    """
    return np.floor((positions + 1) * ratio) > np.floor(positions * ratio)


def perturbed(
    replica: Replica, batch: Batch, rows: Int64[np.ndarray, " k"], losses: Losses
) -> Batch:
    """Return a batch with some samples moved to where their loss is larger, labels unchanged.

    The model is in evaluation mode for that, so a sample does not depend on its neighbours. Nothing
    of it changes, there is no gradient, no hook is called, and random streams go on where they
    were. All samples of a pass are attacked at once: a derivative that is zero but for rounding may
    change its sign with the cut into passes, and then that one value moves the other way.

    Args:
        replica: Its task says what the inputs are, its options how far they are moved.
        batch: Stays as it is.
        rows: Which samples, each once; there may be none.
        losses: Of the replica's task and model.

    Raises:
        ConfigError: The task does not say what its inputs are.
        TaskError: The task broke its contract, or its losses do not depend on its inputs.

    Source: Yao et al. 2018, arXiv:1810.01021, as its authors coded it (HessianFlow,
        ``optimizer/absa.py``): evaluation mode, clean labels, the rest of the batch clean.
    """
    if len(rows) == 0:
        return batch
    task = perturbable(replica.task)
    index = torch.from_numpy(rows).to(replica.device, non_blocking=True)
    chosen = each_tensor(batch, lambda tensor: tensor.index_select(0, index))
    inputs = checked_inputs(task, chosen, len(rows))
    with undisturbed(replica.model):
        gradient = _gradient(inputs, losses)
    moved = fgsm(inputs, gradient, replica.options.eps)
    whole = task.adversarial_inputs(batch)
    return whole.put(whole.values.index_copy(0, index, moved))


def _gradient(inputs: Inputs, losses: Losses) -> Float[Tensor, "n ..."]:
    values = inputs.values.detach().requires_grad_()
    total = losses(inputs.put(values), len(values)).sum()
    (gradient,) = torch.autograd.grad(total, [values], allow_unused=True)
    if gradient is None:
        raise TaskError(
            "task.losses does not depend on the values of task.adversarial_inputs, so they cannot "
            "be perturbed: put must return a batch that task.losses reads them from, and neither "
            "may detach them"
        )
    return gradient
