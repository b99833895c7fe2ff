"""The fast gradient sign method: one step that raises the loss of each sample."""

import torch
from jaxtyping import Float
from torch import Tensor

from absa.adversary.inputs import Inputs


def fgsm(inputs: Inputs, gradient: Float[Tensor, "n ..."], eps: float) -> Float[Tensor, "n ..."]:
    """Return ``clamp(x + eps * sign(dL/dx))``, in the units of ``x``.

    A positive factor per sample, such as its weight or that of a mean, does not change the sign.

    Args:
        inputs: x, with the unit of ``eps`` and the range to clamp to.
        gradient: dL/dx; where it is 0, x stays.
        eps: Size of the step in the inputs' own unit, >= 0.

    Returns:
        Values in [lowest, highest], at most ``eps * unit`` from x where x lies in that range.

    Source: Goodfellow et al. 2014, arXiv:1412.6572, section 4. ABSA's authors clamp to the range of
        the batch at hand; here it is that of all inputs, so a sample does not depend on others.
    """
    values = inputs.values
    moved = torch.addcmul(values, gradient.sign(), inputs.unit.to(values), value=eps)
    return torch.clamp(moved, inputs.lowest.to(values), inputs.highest.to(values))
