"""What a run costs, in gradients of 128 samples."""

from dataclasses import dataclass
from itertools import pairwise

from benchmarks.fewer_updates.outcome import Measured, Outcome, Stretch
from benchmarks.fewer_updates.size import FIRST_BATCH

ATTACK = 2 / 3
"""Of a gradient: backward takes twice what forward does, and half of it is for the weights."""
GRAPH, PRODUCT = 0.8, 2.6
"""Of a gradient: a graph, and a product with the Hessian on it; measured with resnet20 on 128
samples (shared/reference/first-measurements.md, "Cost of curvature")."""


@dataclass(frozen=True)
class Price:
    """Gradients of 128 samples.

    Args:
        updates: Of the updates themselves.
        attacks: Of perturbing inputs.
        signals: Of curvature, and of probes for the noise scale.
    """

    updates: float
    attacks: float
    signals: float

    @property
    def whole(self) -> float:
        """All of it."""
        return self.updates + self.attacks + self.signals


def price(outcome: Outcome) -> Price:
    """Return what a run cost."""
    attacked = sum(
        (after.samples - before.samples) * before.ratio
        for before, after in pairwise((*outcome.stretches, _end(outcome)))
    )
    curvature = sum(_gradients(each) for each in outcome.eigenvalues)
    return Price(
        updates=outcome.samples / FIRST_BATCH,
        attacks=ATTACK * attacked / FIRST_BATCH,
        signals=curvature / FIRST_BATCH + num_probes(outcome),
    )


def num_probes(outcome: Outcome) -> int:
    """Return how many updates had the gradient of other samples beside theirs.

    That is one in so many of those that are a single batch-norm group and cannot be cut; each
    costs another update of that size.
    """
    every = outcome.probe_updates
    if every is None:
        return 0
    return sum(
        _multiples(after.updates, every) - _multiples(before.updates, every)
        for before, after in pairwise((*outcome.stretches, _end(outcome)))
        if before.batch <= FIRST_BATCH
    )


def _multiples(stop: int, of: int) -> int:
    """Return how many multiples there are in [0, stop)."""
    return -(-stop // of)


def _end(outcome: Outcome) -> Stretch:
    return Stretch(outcome.samples, outcome.updates, 0, 0.0)


def _gradients(each: Measured) -> float:
    return each.num_samples * (GRAPH + PRODUCT * each.num_products)
