"""How many workers a job wants at a point of its training."""

from collections.abc import Sequence

from cluster.elastic.config import PlanStep


def wanted(
    plan: Sequence[PlanStep] | None, minimum: int, maximum: int, epochs: float | None
) -> int:
    """Return how many workers are wanted.

    Args:
        plan: In the order of their epochs; None: as many as possible once training has begun.
        minimum: ``workers.min``: training starts with so many.
        maximum: ``workers.max``.
        epochs: Passes over the training data so far, or None while training has not begun.

    Returns:
        A number from ``minimum`` to ``maximum`` for a plan without problems.
    """
    if epochs is None:
        return minimum
    if plan is None:
        return maximum
    step = step_at(plan, epochs)
    return minimum if step is None else step.workers


def step_at(plan: Sequence[PlanStep], epochs: float) -> PlanStep | None:
    """Return the step that holds after so many epochs; None before the first."""
    return next((step for step in reversed(plan) if step.epochs <= epochs), None)
