"""A measured update on one rank: what it does beside an ordinary one."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from absa.update.accumulate import Share, accumulate
from absa.update.apply import GradientNorms
from absa.update.precondition import elementwise, weight_norms
from absa.update.probe import accumulate_beside, probe
from absa.update.replica import Replica
from absa.update.scalars import Totals
from absa.update.telling import Row, Rows
from absa.update.units import Units


@dataclass(frozen=True)
class Before:
    """What the optimizer makes of a gradient, as it stood before the update.

    Args:
        preconditioner: See `absa.update.precondition.elementwise`.
        weights: See `absa.update.precondition.weight_norms`.
    """

    preconditioner: list[Tensor] | None
    weights: Float[Tensor, " tensors"] | None


class Measurement:
    """Looks at the units of updates and keeps the memory that this takes, until `close`.

    Args:
        replica: What the rank computes with.
        totals: Where the sums over units go.
    """

    def __init__(self, replica: Replica, totals: Totals) -> None:
        self._replica, self._totals = replica, totals
        self._units: Units | None = None

    def accumulate(
        self, share: Share, probe_position: int | None, before_last: Callable[[], None]
    ) -> None:
        """Accumulate a share, as `absa.update.accumulate.accumulate` does, and look at its units.

        Args:
            share: May be empty.
            probe_position: As in `absa.update.measuring.Plan`.
            before_last: As there.

        Raises:
            TaskError: The task broke its contract.
        """
        replica, totals = self._replica, self._totals
        if not share.passes:
            return
        if self._units is None:
            self._units = Units(replica.parameters, totals)
        units = self._units
        units.preconditioner = elementwise(replica.optimizer, replica.parameters)
        if probe_position is None:
            accumulate(replica, share, totals, before_last, units)
            return
        found = probe(replica, share, probe_position)
        accumulate_beside(found, replica, share, totals, before_last, units)

    def before_step(self, share: Share) -> Before:
        """Return how the optimizer stands; a rank that has just joined knows it only now."""
        optimizer, parameters = self._replica.optimizer, self._replica.parameters
        weights = weight_norms(optimizer, parameters, self._totals.all.dtype)
        if not share.passes or self._units is None:
            return Before(elementwise(optimizer, parameters), weights)
        preconditioner, self._units.preconditioner = self._units.preconditioner, None
        return Before(preconditioner, weights)

    def rows(self, norms: GradientNorms, before: Before) -> Rows:
        """Return what is told of every tensor."""
        rows: dict[Row, Tensor] = {"gradient": norms.tensors, "units": self._totals.units[0]}
        if norms.preconditioned is not None:
            rows["preconditioned_gradient"] = norms.preconditioned
            rows["preconditioned_units"] = self._totals.units[1]
        if before.weights is not None:
            rows["weights"] = before.weights
        return rows

    def close(self) -> None:
        """Free the memory."""
        self._units = None
