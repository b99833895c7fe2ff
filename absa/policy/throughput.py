"""How long an update takes, from how it is cut over workers, and how sure that is.

The model is that of Pollux and one number more. A pass of n samples takes alpha_c + beta_c n
seconds. Gradients are summed over K workers in alpha + beta (K - 2) seconds, with one pair of
numbers within a node and another between nodes. The last pass and the sum overlap: together they
take

    (pass^gamma + sum^gamma)^(1 / gamma),

from their sum (gamma = 1, no overlap) towards the larger of both. The passes before the last come
on top, and once an update what no pass repeats: the optimizer's step. Pollux, which times passes
apart, counts that as part of each pass. Where only whole updates are timed, and none of several
passes, it is then 12 % wrong of those on average instead of 7 % (an MLP on a CPU).

What is not known of the eight numbers is carried as many draws of them, so that whatever is
computed from the model has an interval: where nothing was measured the draws differ widely.

Source: Qiao et al. 2021, "Pollux", OSDI, section 3.2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from absa.errors import MeasurementError
from absa.noise_scale.student_t import two_sided_quantile
from absa.policy.interval import Interval


@dataclass(frozen=True)
class Load:
    """What an update asks of the worker that has most to do.

    Args:
        workers: How many share the update, at least 1.
        nodes: Machines they run on, from 1 to ``workers``.
        worker_batch: Samples of the largest share, at least ``accumulation_steps``.
        accumulation_steps: Passes in which that share goes through the model, at least 1.

    Raises:
        MeasurementError: A number is out of range.
    """

    workers: int
    nodes: int
    worker_batch: int
    accumulation_steps: int

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= self.workers:
            raise MeasurementError(
                f"{self.workers} workers on {self.nodes} nodes: there must be a node, and a worker "
                "on each"
            )
        if not 1 <= self.accumulation_steps <= self.worker_batch:
            raise MeasurementError(
                f"{self.worker_batch} samples in {self.accumulation_steps} passes: there must be a "
                "pass, and a sample in each"
            )

    @property
    def pass_samples(self) -> float:
        """Samples of a pass, on average."""
        return self.worker_batch / self.accumulation_steps


def update_seconds(
    parameters: Float[np.ndarray, "draws 8"], loads: Sequence[Load]
) -> Float[np.ndarray, "draws loads"]:
    """Return what an update takes.

    Args:
        parameters: alpha_c, beta_c, alpha_r, beta_r (within a node), alpha_n, beta_n (between
            nodes), the optimizer's step, all >= 0 and in seconds, and gamma >= 1.
        loads: How the update is cut.

    Returns:
        Seconds.
    """
    alpha_c, beta_c, alpha_r, beta_r, alpha_n, beta_n, step, gamma = parameters.T[:, :, None]
    workers, nodes, samples, passes = np.array(
        [(x.workers, x.nodes, x.worker_batch, x.accumulation_steps) for x in loads], float
    ).T
    one_pass = alpha_c + beta_c * (samples / passes)
    more = np.maximum(workers - 2, 0)
    summed = np.where(nodes > 1, alpha_n + beta_n * more, alpha_r + beta_r * more)
    summed = np.where(workers > 1, summed, 0.0)
    # Their ratio instead of their powers, which can overflow.
    larger = np.maximum(np.maximum(one_pass, summed), np.finfo(float).tiny)
    overlapped = larger * (1 + (np.minimum(one_pass, summed) / larger) ** gamma) ** (1 / gamma)
    return np.asarray(step + (passes - 1) * one_pass + overlapped)


@dataclass(frozen=True)
class Seen:
    """What was measured: outside of it the model extrapolates.

    Args:
        workers: Fewest and most.
        pass_samples: Fewest and most samples of a pass, each the mean of an update.
        accumulation_steps: Fewest and most passes of an update.
        nodes: Whether one node was seen, and whether several were.
        num_updates: How many updates were timed.
        num_loads: How many different cuts.
        left_out: Which measurements were not used, in plain words; empty if all were.
    """

    workers: tuple[int, int]
    pass_samples: tuple[float, float]
    accumulation_steps: tuple[int, int]
    nodes: tuple[bool, bool]
    num_updates: int
    num_loads: int
    left_out: str = ""

    def doublings_away(self, load: Load) -> float:
        """Return how far a load lies outside: doublings of workers, passes and their samples."""
        return (
            _outside(load.workers, *self.workers)
            + _outside(load.pass_samples, *self.pass_samples)
            + _outside(load.accumulation_steps, *self.accumulation_steps)
        )


def _outside(value: float, low: float, high: float) -> float:
    return max(math.log2(low / value), math.log2(value / high), 0.0)


@dataclass(frozen=True, eq=False)
class ThroughputModel:
    """The model as the measurements leave it.

    Args:
        parameters: Draws of the eight numbers, as in `update_seconds`, all equally likely.
        misfit: Relative error of the model itself, one standard deviation, > 0.
        degrees: Of freedom that ``misfit`` is known with.
        seen: What was measured.
        confidence: Of all intervals, in (0, 1).
    """

    parameters: Float[np.ndarray, "draws 8"]
    misfit: float
    degrees: float
    seen: Seen
    confidence: float

    def draws(self, loads: Sequence[Load]) -> Float[np.ndarray, "draws loads"]:
        """Return the seconds of an update of each load by each draw: for comparing loads."""
        return update_seconds(self.parameters, loads)

    def update_s(self, load: Load) -> Interval:
        """Return the seconds of an update, with everything that makes them uncertain."""
        return self.intervals([load], self.draws([load]))[0]

    def intervals(
        self, loads: Sequence[Load], seconds: Float[np.ndarray, "draws loads"]
    ) -> list[Interval]:
        """Return what draws of seconds say of loads, together with the error of the model itself.

        That error grows like a random walk with each doubling beyond what was seen, of workers, of
        passes and of their samples: a form that fits to x % where it was measured is not trusted
        to x % everywhere. (Of 168 updates of an MLP and a CNN on a CPU, up to 6 doublings beyond
        what the model was fitted to, 161 lay within 90 %.)

        Args:
            loads: What the seconds are of.
            seconds: As `draws` returns them.
        """
        tail = (1 - self.confidence) / 2
        low, middle, high = np.quantile(np.log(seconds), (tail, 0.5, 1 - tail), axis=0)
        away = np.array([self.seen.doublings_away(load) for load in loads])
        error = two_sided_quantile(self.confidence, self.degrees) * self.misfit * np.sqrt(1 + away)
        ends = (
            middle - np.hypot(middle - low, error),
            middle,
            middle + np.hypot(high - middle, error),
        )
        return [Interval(*map(float, column)) for column in np.exp(np.stack(ends, axis=1))]


@dataclass(frozen=True)
class Unknown:
    """There is no model.

    Args:
        reason: Why, in plain words.
    """

    reason: str
