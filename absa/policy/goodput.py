"""Goodput: samples per second, weighed by how much each still teaches in a large batch.

Source: Qiao et al. 2021, "Pollux", OSDI, sections 3.1 and 3.2; the statistical efficiency from the
gradient noise scale: McCandlish et al. 2018, arXiv:1812.06162, section 2.3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from absa.errors import ConfigError, MeasurementError
from absa.policy.batch_plan import BatchPlan, batch_plan
from absa.policy.interval import Interval
from absa.policy.throughput import ThroughputModel
from absa.signals import NoiseScale


def efficiency(noise_scale: float, batch: int, reference: int) -> float:
    """Return the progress that a sample makes in one batch / that in another.

    With noise scale B it is (B + reference) / (B + batch): `absa.noise_scale.predict.gain` per
    sample.

    Args:
        noise_scale: tr(Sigma) / |G|^2, in samples, at least 0; inf: the gradient is all noise.
        batch: Samples of an update, at least 1.
        reference: Samples of an update of which the efficiency is 1, at least 1.

    Returns:
        At most 1 where the batch is not below the reference; more below it.

    Raises:
        MeasurementError: A number is out of range.
    """
    if not noise_scale >= 0 or min(batch, reference) < 1:
        raise MeasurementError(
            f"efficiency of a batch of {batch} relative to {reference} at a noise scale of "
            f"{noise_scale}: batches must be at least 1 and the noise scale at least 0; leave a "
            "noise scale out that was not measured"
        )
    if noise_scale == math.inf:
        return 1.0
    return (noise_scale + reference) / (noise_scale + batch)


def efficiency_interval(noise: NoiseScale | None, batch: int, reference: int) -> Interval:
    """Return the efficiency for a noise scale that is not known exactly.

    Where it is not resolved, its lower end is the best guess: that it may be larger is no evidence
    that it is. Where it was not measured at all, nothing is known but that it is at least 0.

    Args:
        noise: As measured; None: not at all.
        batch: Samples of an update, at least 1.
        reference: Samples of an update of which the efficiency is 1, at least 1.
    """
    lower, value, upper = _noise_ends(noise)
    ends = [efficiency(scale, batch, reference) for scale in (lower, value, upper)]
    return Interval(min(ends), ends[1], max(ends))


def _noise_ends(noise: NoiseScale | None) -> tuple[float, float, float]:
    """Return lower end, best guess and upper end; what is not finite says nothing."""
    if noise is None or not 0 <= noise.lower < math.inf:
        return 0.0, 0.0, math.inf
    known = noise.value is not None and math.isfinite(noise.value)
    value = max(noise.value, noise.lower) if known and noise.value is not None else noise.lower
    return noise.lower, value, noise.upper if noise.upper >= value else math.inf


@dataclass(frozen=True)
class Work:
    """What is to be trained.

    Args:
        batches: Global batches that may be chosen, in samples; a single one: that is settled.
        reference_batch: The batch of which the efficiency is 1, in samples.
        most_micro: Most samples that fit in a worker's memory at once.
        bn_group: Most samples that share a batch-norm statistic; None when the model has none.
        workers_per_node: How many workers a machine holds; None: all of them.

    Raises:
        ConfigError: There is no batch, or a number is not positive.
    """

    batches: tuple[int, ...]
    reference_batch: int
    most_micro: int
    bn_group: int | None = None
    workers_per_node: int | None = None

    def __post_init__(self) -> None:
        smallest = min((*self.batches, self.reference_batch, self.workers_per_node or 1))
        if not self.batches or smallest < 1:
            raise ConfigError(
                f"batches of {list(self.batches)} relative to {self.reference_batch} with "
                f"{self.workers_per_node} workers on a machine: there must be a batch, and every "
                "number must be at least 1"
            )

    def plan(self, batch: int, workers: int) -> BatchPlan:
        """Return how a batch is cut over so many workers."""
        return batch_plan(batch, workers, bn_group=self.bn_group, most_micro=self.most_micro)


@dataclass(frozen=True, eq=False)
class Goodput:
    """What a number of workers achieves, at the batch that is best for it.

    Args:
        plan: How that batch is cut.
        update_s: Seconds of an update.
        samples_per_s: Samples of all workers per second.
        efficiency: Progress of a sample relative to one in the reference batch.
        goodput: Their product: samples in the reference batch that would teach as much, per second.
        draws: The goodput by each draw of the model, for comparing numbers of workers.
    """

    plan: BatchPlan
    update_s: Interval
    samples_per_s: Interval
    efficiency: Interval
    goodput: Interval
    draws: Float[np.ndarray, " draws"]

    @property
    def workers(self) -> int:
        """How many workers."""
        return self.plan.workers


def goodputs(
    model: ThroughputModel, noise: NoiseScale | None, work: Work, workers: Sequence[int]
) -> tuple[Goodput, ...]:
    """Return what each number of workers achieves.

    Args:
        model: How long updates take.
        noise: The gradient noise scale; None if it was not measured.
        work: What is to be trained.
        workers: The numbers, each at least 1.

    Raises:
        ConfigError: A batch cannot be cut.
    """
    plans = [[work.plan(batch, num) for batch in work.batches] for num in workers]
    loads = [[plan.load(work.workers_per_node) for plan in row] for row in plans]
    seconds = model.draws([load for row in loads for load in row])
    by_batch = seconds.reshape(len(seconds), len(workers), len(work.batches))
    shares = [efficiency_interval(noise, b, work.reference_batch) for b in work.batches]
    useful = [share.value * batch for share, batch in zip(shares, work.batches, strict=True)]
    best = np.argmax(np.median(useful / by_batch, axis=0), axis=1)
    chosen = [row[j] for row, j in zip(loads, best, strict=True)]
    update_s = model.intervals(chosen, by_batch[:, np.arange(len(workers)), best])
    return tuple(
        _goodput(plans[i][j], update_s[i], shares[j], useful[j] / by_batch[:, i, j])
        for i, j in enumerate(best)
    )


def _goodput(
    plan: BatchPlan, update_s: Interval, share: Interval, draws: Float[np.ndarray, " draws"]
) -> Goodput:
    rate = update_s.inverse(plan.global_batch)
    goodput = Interval(rate.lower * share.lower, rate.value * share.value, rate.upper * share.upper)
    return Goodput(plan, update_s, rate, share, goodput, draws)
