"""A direct check of a noise scale: what updates at two batches really do to the loss.

From the same weights, short runs of plain SGD are branched off at a small and at a large batch, at
several learning rates each; the loss on fixed samples is compared before and after. If the best
decrease is proportional to 1 / (1 + B / b), its ratio r between the batches b_1 < b_2 gives

    r = (1 + B / b_1) / (1 + B / b_2),    B = (r - 1) / (1 / b_1 - r / b_2).

This is B_noise itself, with the Hessian in it, of which tr(Sigma) / |G|^2 is a proxy. (Of
a quadratic in 40 dimensions 30 seeds of one update at 4 and 64 samples found 10.6 as 9.9 to 11.7.)

Source: McCandlish et al. 2018, arXiv:1812.06162, section 2.2.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn

from absa.curvature.problem import Losses
from absa.errors import MeasurementError
from absa.noise_scale.predict import progress
from absa.noise_scale.student_t import two_sided_quantile
from absa.task import Batch

Draw = Callable[[int, int], Batch]
"""(number of samples, seed) -> so many random training samples; the same for the same seed."""


@dataclass(frozen=True)
class Branches:
    """Which runs are made: two batches, each with all rates and seeds.

    Args:
        batches: b_1 < b_2, samples; best on both sides of the noise scale that is checked.
        max_rates: Candidates for the best learning rate of the exact gradient, at least 3,
            ascending, e.g. four from a quarter to twice a guess.
        predicted: The noise scale that is checked. The rates of batch b are those of ``max_rates``
            over 1 + predicted / b; the result depends on it only by where that sweep lies.
        num_seeds: Runs of each kind, at least 3.
        num_updates: Of each run; few enough that weights stay where the noise scale was measured.
        confidence: Of the interval, in (0, 1).
    """

    batches: tuple[int, int]
    max_rates: tuple[float, ...]
    predicted: float
    num_seeds: int = 8
    num_updates: int = 1
    confidence: float = 0.9

    def __post_init__(self) -> None:
        small, big = self.batches
        if not 0 < small < big:
            raise MeasurementError(f"batches are {self.batches}; they must be above 0 and ascend")
        if self.num_seeds < 3 or self.num_updates < 1:
            raise MeasurementError(
                f"{self.num_seeds} seeds of {self.num_updates} updates; there must be at least 3 "
                "seeds, to see the spread, and 1 update"
            )
        if len(self.max_rates) < 3 or not 0 < self.max_rates[0] < self.max_rates[-1]:
            raise MeasurementError(
                f"max_rates is {self.max_rates}; at least 3 positive learning rates that ascend "
                "are needed to find the best one"
            )

    def rates(self, batch: int) -> list[float]:
        """Return the learning rates that are tried at a batch."""
        return [rate * progress(batch, self.predicted) for rate in self.max_rates]


@dataclass(frozen=True)
class BranchCheck:
    """What the branches say.

    Args:
        noise_scale: B, in samples; None where the interval is not bounded.
        lower: Lower end of the interval, >= 0.
        upper: Upper end; inf if the large batch was not certainly past the noise scale.
        ratio: r, of the decrease at the large batch to that at the small one.
        best_rates: The best learning rate of each batch.
        decreases: The decrease of the loss at it.
    """

    noise_scale: float | None
    lower: float
    upper: float
    ratio: float
    best_rates: tuple[float, float]
    decreases: tuple[float, float]


def check_by_branches(
    model: nn.Module, losses: Losses, draw: Draw, judged: Sequence[Batch], branches: Branches
) -> BranchCheck:
    """Measure the noise scale by how much updates at two batches decrease the loss.

    It takes the gradients of seeds * rates * updates * (b_1 + b_2) samples, and the judged samples'
    losses once for each run.

    Args:
        model: Is copied and left as it is; the runs and the judging are in the mode it is in.
        losses: One loss per sample, such as `absa.task.Task.losses`.
        draw: Gives the batches.
        judged: Fixed samples on which the loss is taken, as the model takes them; many more than
            the large batch, for they stand for all.
        branches: Which runs are made.

    Returns:
        The noise scale and its interval, from the spread over seeds.

    Raises:
        MeasurementError: No best learning rate was found in the sweep, or the loss is not finite.
    """
    before = _loss(model, losses, judged)

    def decrease(batch: int, rate: float, seed: int) -> float:
        branch = copy.deepcopy(model)
        first = seed * branches.num_updates
        for number in range(first, first + branches.num_updates):
            _descend(branch, losses, draw(batch, number), rate)
        return before - _loss(branch, losses, judged)

    curves = []
    for batch in branches.batches:
        rates = branches.rates(batch)
        seeds = range(branches.num_seeds)
        found = np.array([[decrease(batch, rate, seed) for rate in rates] for seed in seeds])
        if not np.isfinite(found).all():
            raise MeasurementError(
                f"at batch {batch} the loss is not finite after updates at rates of {rates}: take "
                "lower ones"
            )
        curves.append(_Curve(batch, np.array(rates), found))
    return _compare(curves[0], curves[1], branches)


@dataclass(frozen=True)
class _Curve:
    """How much the loss decreases at one batch, by learning rate."""

    batch: int
    rates: Float64[np.ndarray, " rates"]
    decreases: Float64[np.ndarray, "seeds rates"]

    def line(self) -> tuple[float, float]:
        """Return start and fall of decrease / rate = start - fall * rate, by least squares.

        A run's own noise moves all of its line alike, so the fall is much surer than the start.
        """
        slope, start = np.polyfit(self.rates, self.decreases.mean(0) / self.rates, 1)
        if not slope < 0:
            raise MeasurementError(
                f"at batch {self.batch} the loss decreases by {self.decreases.mean(0)} at rates of "
                f"{self.rates}, in proportion or more: take higher ones, or more seeds"
            )
        return float(start), float(-slope)

    def without(self, seed: int) -> "_Curve":
        return _Curve(self.batch, self.rates, np.delete(self.decreases, seed, axis=0))


def _compare(small: _Curve, big: _Curve, branches: Branches) -> BranchCheck:
    """Solve for the noise scale; the interval is by the jackknife over seeds.

    For small rates the decrease is rate * |G|^2 at any batch, on average, so both lines have one
    start a, and with their falls c the best decreases are a^2 / 4 c: a cancels in their ratio.
    """
    (start_small, fall_small), (start_big, fall_big) = small.line(), big.line()
    share = big.batch / (small.batch + big.batch)  # a start's variance goes with 1 / batch
    start = (1 - share) * start_small + share * start_big
    best = start / (2 * fall_small), start / (2 * fall_big)
    for curve, rate in zip((small, big), best, strict=True):
        if not curve.rates[0] / 2 <= rate <= 2 * curve.rates[-1]:
            raise MeasurementError(
                f"the best learning rate at batch {curve.batch} would be {rate:.3g}, far from the "
                f"sweep from {curve.rates[0]:.3g} to {curve.rates[-1]:.3g}: move max_rates there"
            )
    ratio = fall_small / fall_big
    seeds = range(branches.num_seeds)
    logs = [math.log(small.without(s).line()[1] / big.without(s).line()[1]) for s in seeds]
    error = math.sqrt((branches.num_seeds - 1) * float(np.var(logs)))
    far = math.exp(two_sided_quantile(branches.confidence, branches.num_seeds - 1) * error)
    lower, value, upper = (_solve(r, branches.batches) for r in (ratio / far, ratio, ratio * far))
    return BranchCheck(
        noise_scale=value if upper < math.inf else None,
        lower=lower,
        upper=upper,
        ratio=ratio,
        best_rates=best,
        decreases=(start * best[0] / 2, start * best[1] / 2),
    )


def _solve(ratio: float, batches: tuple[int, int]) -> float:
    """Return B >= 0 for a ratio; inf where the decrease grows at least as fast as the batch."""
    small, big = batches
    if ratio * small >= big:
        return math.inf
    return max(ratio - 1, 0.0) / (1 / small - ratio / big)


def _descend(model: nn.Module, losses: Losses, batch: Batch, rate: float) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(losses(model, batch).mean(), parameters, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                parameter.sub_(gradient, alpha=rate)


def _loss(model: nn.Module, losses: Losses, judged: Sequence[Batch]) -> float:
    """Return the mean; in training mode a model's buffers may change, so it works on a copy."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        parts = [losses(model, batch).double() for batch in judged]
    return float(torch.cat(parts).mean())
