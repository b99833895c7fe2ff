"""The largest Hessian eigenvalues, followed through training.

Each measurement is a band Lanczos run from the Ritz vectors of the last one and a fresh random
column. The Ritz vectors make it cheap; but a pure warm start stays with an eigenvector that another
has overtaken, with a residual of zero. The random column finds that one, and bounds what there may
be besides.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import BFloat16, Float
from torch import Tensor

from absa.collective import ALONE, Collective
from absa.curvature.agreement import first_rank
from absa.curvature.band_lanczos import (
    Agree,
    Krylov,
    begin,
    extend,
    ritz_vectors,
)
from absa.curvature.bound import upper_bound
from absa.curvature.operator import CurvatureOperator
from absa.curvature.problem import Problem
from absa.curvature.projection import ritz, rounding
from absa.curvature.random_vectors import normal
from absa.curvature.stopping import Aim, Knowledge, next_remainder, verdict
from absa.errors import MeasurementError
from absa.signals import Curvature, FallTest, Stopped


@dataclass(frozen=True)
class TrackerState:
    """Where the next measurement starts; the same on every rank.

    Args:
        vectors: The last Ritz vectors, one per row. In bfloat16 they are half as large in
            checkpoints and on the way to newcomers; as the error of a Ritz value is the square of
            its vector's, rounding them costs about 1e-6 of the value.
        num_measurements: How many there have been: each draws a random column of its own.
        seed: Of the random columns.
    """

    vectors: BFloat16[Tensor, "k dim"]
    num_measurements: int
    seed: int


@dataclass(frozen=True)
class HessianTracker:
    """How the largest eigenvalues are measured.

    Args:
        operator: Makes the products, such as `absa.curvature.hessian.Hessian`.
        top: How many eigenvalues, at least 1.
        tolerance: Their estimated error, relative to the largest one, > 0. With a question: of
            values that have fallen; others may be less exact, and cheaper.
        max_products: Hessian-vector products that a measurement may take, at least 1.
        failure_probability: That an upper bound is wrong, in (0, 1/2]; a question has its own.
        ceiling: A value within the tolerance is final once no eigenvalue above so many times it is
            possible, but for ``failure_probability``. Above 1; 1 + ``tolerance`` makes of the
            estimated error a proven one.
        seed: Of the random columns.
    """

    operator: Callable[[Problem], CurvatureOperator]
    top: int = 1
    tolerance: float = 0.05
    max_products: int = 16
    failure_probability: float = 0.05
    ceiling: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "top": (self.top, self.top >= 1, "at least 1"),
            "tolerance": (self.tolerance, self.tolerance > 0, "positive"),
            "max_products": (self.max_products, self.max_products >= 1, "at least 1"),
            "failure_probability": (
                *(self.failure_probability, 0 < self.failure_probability <= 0.5),
                "above 0 and at most 0.5",
            ),
            "ceiling": (self.ceiling, self.ceiling > 1, "above 1"),
        }
        for name, (value, fits, what) in allowed.items():
            if not fits:
                raise MeasurementError(f"HessianTracker: {name} = {value}, but it must be {what}")

    def measure(
        self, problem: Problem, state: TrackerState | None, question: FallTest | None = None
    ) -> tuple[TrackerState, Curvature]:
        """Measure the largest eigenvalues of the problem's Hessian; every rank calls it.

        Args:
            problem: The loss, at the model's present parameters.
            state: What the last measurement returned; None at the first one.
            question: What the measurement is for, if the value alone is not enough.

        Returns:
            The state for the next measurement, and what was found. If a product was not finite the
            state is the one given and nothing was found.

        Raises:
            MeasurementError: The state is of another model.
            Exception: What the operator or the collective raises; then nothing has changed.
        """
        with self.operator(problem) as operator:
            return measure_operator(self, operator, state, question, problem.collective)


def measure_operator(
    tracker: HessianTracker,
    operator: CurvatureOperator,
    state: TrackerState | None,
    question: FallTest | None = None,
    collective: Collective = ALONE,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[TrackerState, Curvature]:
    """Measure the largest eigenvalues of an operator; see `HessianTracker.measure`.

    Args:
        tracker: How.
        operator: Entered; its products are the same on every rank.
        state: What the last measurement returned; None at the first one.
        question: What the measurement is for, if the value alone is not enough.
        collective: The ranks; rank 0's numbers decide.
        clock: Returns seconds.
    """
    began = clock()
    agree = first_rank(collective, operator.device)
    state = state or TrackerState(
        torch.zeros(0, operator.dim, dtype=torch.bfloat16), 0, tracker.seed
    )
    krylov = begin(_starts(tracker, operator, state), agree)
    krylov, known, stopped = _grow(tracker, operator, krylov, question, agree)
    if known is not None:
        vectors = ritz_vectors(krylov, tracker.top).to(torch.bfloat16)
        # As bytes: not every backend has bfloat16.
        collective.broadcast([vectors.view(torch.uint8)], source=0)
        state = TrackerState(vectors, state.num_measurements + 1, state.seed)
    return state, Curvature(
        values=tuple(known.pairs.values[: tracker.top].tolist()) if known else (),
        residuals=tuple(known.pairs.residuals[: tracker.top].tolist()) if known else (),
        lower=known.lower if known else math.nan,
        upper=known.upper if known else math.inf,
        failure_probability=(question or tracker).failure_probability,
        stopped=stopped,
        num_products=len(krylov.basis),
        num_samples=operator.num_samples,
        seconds=float(agree(np.array([clock() - began]))[0]),
    )


def _starts(
    tracker: HessianTracker, operator: CurvatureOperator, state: TrackerState
) -> list[Float[Tensor, " dim"]]:
    """Return the last Ritz vectors, or at first the gradient, and then a random vector."""
    if state.vectors.shape[1] != operator.dim:
        raise MeasurementError(
            f"the tracker's state has vectors of {state.vectors.shape[1]} numbers, but "
            f"{operator.dim} parameters are trained: it is of another model; start from None"
        )
    last = state.vectors[: tracker.top].to(device=operator.device, dtype=operator.dtype)
    fresh = normal(operator, state.seed, state.num_measurements)
    return [*(list(last) or [operator.gradient]), fresh]


def _grow(
    tracker: HessianTracker,
    operator: CurvatureOperator,
    krylov: Krylov,
    question: FallTest | None,
    agree: Agree,
) -> tuple[Krylov, Knowledge | None, Stopped]:
    """Make products until the aim is reached; return what is then known, None if not finite."""
    aim = Aim(tracker.top, tracker.tolerance, tracker.ceiling, question, tracker.max_products)
    known = None
    while krylov.projection.finite:
        which = next_remainder(aim, known) if known else 0
        krylov = extend(operator, krylov, which, agree)
        if not krylov.projection.finite:
            break
        known = _knowledge(operator, krylov, (question or tracker).failure_probability)
        stopped = verdict(aim, known)
        if stopped:
            return krylov, known, stopped
    return krylov, None, "not_finite"


def _knowledge(
    operator: CurvatureOperator, krylov: Krylov, failure_probability: float
) -> Knowledge:
    projection = krylov.projection
    error = rounding(projection, torch.finfo(operator.dtype).eps)
    random = len(projection.starts) - 1
    upper = upper_bound(projection, random, operator.dim, failure_probability)
    return Knowledge(projection, ritz(projection), error, upper + error)
