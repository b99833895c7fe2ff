"""What a noise scale says of batch sizes: progress of an update, learning rate, critical batch.

All of it follows from one model: the loss is quadratic over a step, and its best decrease with a
batch of b samples is 1 / (1 + B / b) of that with the exact gradient, at 1 / (1 + B / b) of that
one's learning rate. B is tr(H Sigma) / G'HG for the Hessian H; measured is tr(Sigma) / |G|^2, which
equals it where H is a multiple of the identity and is of the same order in practice. A noise scale
that has only a lower bound ("at least X") gives lower bounds here too.

Source: McCandlish et al. 2018, arXiv:1812.06162, sections 2.2 and 2.3, appendix D.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from absa.errors import MeasurementError


def progress(batch: float, noise_scale: float) -> float:
    """Return what share of the exact gradient's best decrease of the loss an update can reach.

    Args:
        batch: b, samples of the update, > 0.
        noise_scale: B, samples, >= 0; inf gives 0.

    Returns:
        1 / (1 + B / b), in [0, 1].

    Source: McCandlish et al., section 2.2.
    """
    _check(batch, noise_scale)
    return batch / (batch + noise_scale)


def best_learning_rate(max_learning_rate: float, batch: float, noise_scale: float) -> float:
    """Return the learning rate of plain SGD that decreases the loss most in one step.

    Args:
        max_learning_rate: The best one with the exact gradient, |G|^2 / G'HG.
        batch: Samples of the update, > 0.
        noise_scale: Samples, >= 0.

    Source: McCandlish et al., section 2.2.
    """
    return max_learning_rate * progress(batch, noise_scale)


def gain(batch: float, reference_batch: float, noise_scale: float) -> float:
    """Return how many updates of the reference batch one update of another batch is worth.

    AdaScale multiplies the learning rate with it, and Pollux divides it by batch / reference_batch
    for the efficiency of a sample.

    Args:
        batch: b, > 0.
        reference_batch: b_0, > 0.
        noise_scale: B, >= 0; inf gives b / b_0.

    Returns:
        (1 + B / b_0) / (1 + B / b), between 1 and b / b_0.

    Source: Johnson et al. 2020, arXiv:2007.05105, section 3; Qiao et al. 2021, arXiv:2008.12260,
    section 3.1.
    """
    _check(batch, noise_scale)
    _check(reference_batch, noise_scale)
    if noise_scale == math.inf:
        return batch / reference_batch
    return progress(batch, noise_scale) / progress(reference_batch, noise_scale)


@dataclass(frozen=True)
class Cost:
    """What a run takes.

    Args:
        updates: Updates, S.
        samples: Samples, E.
    """

    updates: float
    samples: float


@dataclass(frozen=True)
class TradeOff:
    """What a run to the same loss takes at any constant batch: (S/S_min - 1)(E/E_min - 1) = 1.

    Args:
        min_updates: S_min, updates with the exact gradient.
        min_samples: E_min, samples with the smallest batch.

    Source: McCandlish et al., section 2.3.
    """

    min_updates: float
    min_samples: float

    @property
    def critical_batch(self) -> float:
        """Return E_min / S_min: there a run takes twice the least updates and samples."""
        return self.min_samples / self.min_updates

    def at(self, batch: float) -> Cost:
        """Return what a run takes at a constant batch, > 0."""
        _check(batch, 0.0)
        return Cost(
            self.min_updates + self.min_samples / batch,
            self.min_samples + self.min_updates * batch,
        )


@dataclass(frozen=True)
class Stretch:
    """A part of a run during which batch and noise scale hardly changed.

    Args:
        num_updates: Updates made, > 0.
        batch: Samples of each, > 0.
        noise_scale: During them, finite and >= 0.
    """

    num_updates: float
    batch: float
    noise_scale: float


def trade_off(run: Sequence[Stretch]) -> TradeOff:
    """Return what a run that was measured would take at other batches.

    An update at batch b does 1 / (1 + B / b) of what one with the exact gradient does, so
    S_min = sum of 1 / (1 + B / b), and E_min = sum of B / (1 + B / b): the critical batch is the
    average of the noise scale over progress, not over updates. The learning rate is taken to be the
    best one throughout.

    Args:
        run: Its stretches, from first to last.

    Raises:
        MeasurementError: There are none, or a number is out of range.

    Source: McCandlish et al., appendix D.
    """
    _check_run(run)
    done = [s.num_updates * progress(s.batch, s.noise_scale) for s in run]
    samples = sum(d * s.noise_scale for d, s in zip(done, run, strict=True))
    return TradeOff(min_updates=sum(done), min_samples=samples)


def following_batch(noise_scale: float, samples_per_update: float) -> float:
    """Return the batch that spends updates and samples at one rate of exchange throughout a run.

    Args:
        noise_scale: Now, >= 0.
        samples_per_update: How many samples more one is willing to take for one update less, > 0;
            the critical batch of the run weighs both alike.

    Returns:
        sqrt(samples_per_update * noise_scale).

    Source: McCandlish et al., appendix D.
    """
    _check(samples_per_update, noise_scale)
    return math.sqrt(samples_per_update * noise_scale)


def value_of_following(run: Sequence[Stretch]) -> float:
    """Return how much closer to the ideal a batch that follows the noise scale comes.

    With `following_batch` the 1 on the right of (S/S_min - 1)(E/E_min - 1) = 1 becomes this number.

    Args:
        run: Its stretches, not all of noise scale 0.

    Returns:
        (mean of sqrt(B))^2 / mean of B over progress, in (0, 1]; 1 where B is constant.

    Raises:
        MeasurementError: There are no stretches, or a number is out of range.

    Source: McCandlish et al., appendix D.
    """
    _check_run(run)
    if all(s.noise_scale == 0 for s in run):
        raise MeasurementError("every noise scale of the run is 0: there is nothing to follow")
    least = trade_off(run)
    roots = sum(
        s.num_updates * progress(s.batch, s.noise_scale) * math.sqrt(s.noise_scale) for s in run
    )
    return roots**2 / (least.min_updates * least.min_samples)


def _check(batch: float, noise_scale: float) -> None:
    if not 0 < batch < math.inf or not noise_scale >= 0:
        raise MeasurementError(
            f"a batch of {batch} at a noise scale of {noise_scale} samples: the batch must be "
            "finite and above 0, the noise scale at least 0"
        )


def _check_run(run: Sequence[Stretch]) -> None:
    if not run:
        raise MeasurementError("a run without updates predicts nothing; give at least one stretch")
    for s in run:
        _check(s.batch, s.noise_scale)
        if not s.num_updates > 0 or s.noise_scale == math.inf:
            raise MeasurementError(
                f"{s.num_updates} updates at a noise scale of {s.noise_scale}: both must be finite "
                "and the updates above 0; take a lower bound where only that is known"
            )
