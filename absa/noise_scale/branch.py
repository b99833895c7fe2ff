"""A direct check of a noise scale: what updates with two batches really do to the loss.

From the same weights, single updates of plain SGD are made with a small and with a large batch, at
several learning rates each; the loss on fixed samples is compared before and after. If the best
decrease is proportional to 1 / (1 + B / b), its ratio r between the batches b_1 < b_2 gives

    r = (1 + B / b_1) / (1 + B / b_2),    B = (r - 1) / (1 / b_1 - r / b_2).

This is B_noise itself, with the Hessian in it, of which tr(Sigma) / |G|^2 is a proxy: 784-64-10 on
MNIST after 300 updates has 180 (110 to 290, 10 seeds) where the proxy is 370. Runs of several
updates would not do: n of them at a low rate are one update with n b samples.

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
    """Which updates are tried: with two batches, at all rates, with all seeds.

    Args:
        batches: b_1 < b_2, samples; best on both sides of the noise scale that is checked.
        max_rates: Candidates for the best learning rate of the exact gradient, at least 3,
            ascending, e.g. four from a quarter to twice a guess.
        predicted: The noise scale that is checked. The rates of batch b are those of ``max_rates``
            over 1 + predicted / b; the result depends on it only by where that sweep lies.
        num_seeds: Batches of each size, at least 3.
        confidence: Of the interval, in (0, 1).
    """

    batches: tuple[int, int]
    max_rates: tuple[float, ...]
    predicted: float
    num_seeds: int = 8
    confidence: float = 0.9

    def __post_init__(self) -> None:
        small, big = self.batches
        if not 0 < small < big:
            raise MeasurementError(f"batches are {self.batches}; they must be above 0 and ascend")
        if self.num_seeds < 3:
            raise MeasurementError(
                f"num_seeds is {self.num_seeds}; at least 3 are needed to see the spread"
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

    It takes the gradients of seeds * (b_1 + b_2) samples, and the judged samples' losses for each
    seed, rate and batch.

    Args:
        model: Is copied and left as it is; updates and judging are in the mode that it is in.
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
    curves = []
    for batch in branches.batches:
        rates = branches.rates(batch)
        seeds = range(branches.num_seeds)
        after = [_losses_after(model, losses, draw(batch, s), judged, rates) for s in seeds]
        found = before - np.array(after)
        if not np.isfinite(found).all():
            raise MeasurementError(
                f"at batch {batch} the loss is not finite after an update at rates of {rates}: "
                "take lower ones"
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

        A batch's noise moves all of its line alike, so the fall is much surer than the start.
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


def _losses_after(
    model: nn.Module, losses: Losses, batch: Batch, judged: Sequence[Batch], rates: Sequence[float]
) -> list[float]:
    """Return the loss after one update with a batch, for each rate."""
    branch = copy.deepcopy(model)
    parameters = [p for p in branch.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(losses(branch, batch).mean(), parameters, allow_unused=True)
    found, at = [], 0.0
    for rate in rates:
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.sub_(gradient, alpha=rate - at)
        at = rate
        found.append(_loss(branch, losses, judged))
    return found


def _loss(model: nn.Module, losses: Losses, judged: Sequence[Batch]) -> float:
    """Return the mean; in training mode a model's buffers may change, so it works on a copy."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        parts = [losses(model, batch).double() for batch in judged]
    return float(torch.cat(parts).mean())
