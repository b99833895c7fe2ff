"""When a measurement of eigenvalues may end, and what the next product is best spent on.

All of it is decided from the projected operator, whose numbers are the same on every rank.
"""

from dataclasses import dataclass

import numpy as np

from absa.curvature.bound import least_squares
from absa.curvature.projection import Projection, Ritz, largest_part
from absa.signals import FallTest, Stopped


@dataclass(frozen=True)
class Aim:
    """What a measurement is to find out.

    Args:
        top: How many eigenvalues.
        tolerance: Their error, relative to the largest.
        ceiling: No eigenvalue above so many times the largest value may be possible.
        question: What is asked about the largest.
        max_products: How many products that may take.
    """

    top: int
    tolerance: float
    ceiling: float
    question: FallTest | None
    max_products: int


@dataclass(frozen=True)
class Knowledge:
    """What the products made so far say.

    Args:
        projection: The operator as the basis shows it; the last start vector is the random one.
        pairs: Its Ritz pairs, at least one.
        rounding: How far a Ritz value may be off by rounding.
        upper: What the largest eigenvalue does not exceed, but for the failure probability.
    """

    projection: Projection
    pairs: Ritz
    rounding: float
    upper: float

    @property
    def top(self) -> float:
        """The largest Ritz value."""
        return float(self.pairs.values[0])

    @property
    def lower(self) -> float:
        """What the largest eigenvalue is not below."""
        return self.top - self.rounding


def verdict(aim: Aim, known: Knowledge) -> Stopped | None:
    """Return why the measurement ends here; None if another product is to be made.

    With a question only its answer ends the measurement, or the budget: "budget" means that the
    eigenvalue has not been proven to have fallen. That it has not fallen is certain as soon as a
    Ritz value lies above the level; one that has fallen is measured to the tolerance, for it is
    what the next question refers to.
    """
    question = aim.question
    if question is not None and known.lower > question.level:
        if not question.exact:
            return "not_fallen"
        question = None  # it is answered: what is left is the value
    last = len(known.projection.matrix) >= aim.max_products or not known.projection.remainders
    accurate = _is_accurate(aim, known)
    if question is None:
        return "tolerance" if accurate else "budget" if last else None
    if known.upper <= question.level and (accurate or last):
        return "fallen"
    return "budget" if last else None


def next_remainder(aim: Aim, known: Knowledge) -> int:
    """Return the remainder that the next product is best spent on.

    First the start vectors, the random one last. Then, until the wanted Ritz vectors are exact
    enough, what most of the residual of the least exact one consists of; and after that what most
    of the residual behind the upper bound consists of.

    Args:
        aim: What is to be found out.
        known: With a remainder left.
    """
    now = known.projection
    random = len(now.starts) - 1
    for i, remainder in enumerate(now.remainders):
        if remainder.column is None and remainder.chain != random:
            return i
    errors = estimated_errors(known.pairs, aim.top)
    if max(errors) > _bearable(aim, known):
        return largest_part(now, known.pairs.coordinates[:, int(np.argmax(errors))])
    if not now.holds(random):
        return [(r.chain, r.column) for r in now.remainders].index((random, None))
    return largest_part(now, least_squares(now, random, known.upper))


def estimated_errors(pairs: Ritz, top: int) -> list[float]:
    """Return about how far each of the largest Ritz values is below its eigenvalue.

    residual^2 / gap, and at most the residual, where the gap is that to the largest eigenvalue not
    wanted (wanted ones may lie close together). Of that one is known that some eigenvalue lies
    within a residual of its Ritz value, so it is taken to be so much larger. An eigenvector that
    the start vectors do not show is left to the upper bound.

    Args:
        pairs: At least one.
        top: How many are wanted.

    Returns:
        As many as are wanted, or as there are.

    Source: Parlett 1998, "The symmetric eigenvalue problem", section 11.7 (gap theorems).
    """
    values, residuals = pairs.values, pairs.residuals
    if len(values) <= top:
        return [float(residual) for residual in residuals]
    rest = float(values[top] + residuals[top])
    return [
        float(r * min(1.0, r / (value - rest)) if value > rest else r)
        for value, r in zip(values[:top], residuals[:top], strict=True)
    ]


def _bearable(aim: Aim, known: Knowledge) -> float:
    """Return the error up to which a better value is of no use."""
    error = aim.tolerance * abs(known.top) + known.rounding
    question = aim.question
    if question is None or known.upper <= question.level or known.lower > question.level:
        return error
    # A value that stays below the level all the same does not answer the question: the bound does.
    return max(error, question.level - known.top)


def _is_accurate(aim: Aim, known: Knowledge) -> bool:
    if not known.projection.remainders:
        return True
    ceiling = known.top + (aim.ceiling - 1) * abs(known.top) + 2 * known.rounding
    errors = estimated_errors(known.pairs, aim.top)
    return max(errors) <= _bearable(aim, known) and known.upper <= ceiling
