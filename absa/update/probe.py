"""The gradient of other samples, for an update that cannot be cut: what it costs is an update."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from absa.update.accumulate import Share, accumulate, backward
from absa.update.gradients import gradients_of
from absa.update.replica import Replica
from absa.update.scalars import Totals
from absa.update.traceless import traceless
from absa.update.units import Units


@dataclass(frozen=True)
class Probe:
    """What was found at other samples.

    Args:
        gradients: Of their weighted loss sum / number of samples.
        weight: What they weigh together.
    """

    gradients: list[Tensor]
    weight: Tensor | float


def probe(replica: Replica, share: Share, position: int) -> Probe:
    """Return the gradient of as many samples as the update has, at ``position`` of its epoch.

    Args:
        replica: Nothing of it changes; it has no gradients yet.
        share: The update, which is one pass.
        position: Of the first of these samples.

    Raises:
        TaskError: The task broke its contract.
    """
    (whole,) = share.passes
    with traceless(replica):
        _, weight = backward(replica, replace(share, start=position), whole)
        return Probe(gradients_of(replica.parameters), weight)


def accumulate_beside(
    found: Probe,
    replica: Replica,
    share: Share,
    totals: Totals,
    before_last: Callable[[], None],
    units: Units,
) -> None:
    """Accumulate the share and compare its gradient with that of a probe.

    Let g be the gradient of an update of B samples of weight W, and h that of a probe of B samples
    of weight V. With trace the covariance of one sample, E|g - h|^2 = (B / W^2 + B / V^2) trace. So
    with C = 2 B / W and ::

        A = W |g|^2 + |g - h|^2 W V^2 / (W^2 + V^2)

    (A - W |g|^2) / (C - B / W) is an unbiased estimate of the trace, as it is for the units of an
    update that is cut. The update itself contributes W |g|^2 and B / W as a unit.

    Args:
        found: The probe; its gradients are overwritten.
        replica: As for `accumulate`, and so are the next three.
        share: Its only pass.
        totals: What they add.
        before_last: As there.
        units: Where the pass and the comparison are counted.
    """
    accumulate(replica, share, totals, before_last, units)
    weight, other = totals.weight, found.weight
    torch._foreach_mul_(found.gradients, weight / other)
    torch._foreach_sub_(found.gradients, gradients_of(replica.parameters))
    # The gradients are sums / B, and these have a weight of W now: times B / W is h - g.
    share_of_square = other**2 / (weight**2 + other**2)
    units.count(
        found.gradients,
        share.num_samples**2 / weight * share_of_square,
        share.num_samples / weight,
    )
