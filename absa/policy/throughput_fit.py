"""Fit the throughput model to what updates were measured to take.

The eight numbers are rarely all seen: a run with one batch size does not separate what a pass costs
at all from what a sample costs, a run on one worker says nothing of the network. Pollux fixes the
missing ones; here each has a prior instead, so that a missing one stays uncertain and a measured
one is what was measured. The fit is the least squares of

    (log measured - log predicted) / error    and    (parameter - centre) / spread.

Its uncertainty is found by fitting again and again to measurements and centres that are moved at
random by as much as they are uncertain (randomised maximum likelihood): exact for a linear model,
and no draw contradicts the measurements where a model is not linear.

Source: Qiao et al. 2021, "Pollux", OSDI, section 3.2; Chen and Oliver 2012, "Ensemble randomized
maximum likelihood method", Math. Geosci. 44.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from absa.errors import MeasurementError
from absa.policy.least_squares import solve
from absa.policy.throughput import Load, Seen, ThroughputModel, Unknown, update_seconds
from absa.policy.update_costs import Pooled, UpdateCost, pool

_CENTRE = np.array([0, 0, *np.log([0.1, 0.1, 4, 0.1, 0.1, 0.5])])
_SPREAD = np.array([3, 1.8, 2.3, 1.6, 1, 1.6, 1.6, 1.5])
"""Priors of what `_physical` takes, mean and standard deviation, in its order:

pass            seconds of a pass of the typical size / those measured: anything within e^3.
constant share  logit of the part of it that does not grow with the samples: nearly uniform, its
                middle Pollux's one half.
sum / pass      0.1, a decade either way. 90 % efficiency, as Goyal et al. 2017 (arXiv:1706.02677)
                see it up to 256 GPUs, is 0.1; of an MLP's update on CPUs one small collective alone
                takes 0.25 to 0.45.
growth / sum    0.1, a factor of 5 either way: by (K - 1) / K a ring grows by 0.33 from 2 to 3
                workers and by 0.125 each from 2 to 8, and by 1 where latency is all (Patarasuk and
                Yuan 2009, J. Parallel Distrib. Comput. 69); Pollux assumes 0 until it is seen.
nodes / node    4, a factor e either way: 2.6 for 100 Gbit/s against PCIe 4, 9 for 400 Gbit/s
                against NVLink 4. Pollux: at least 1.1.
growth / sum    between nodes: as within.
step / pass     0.1, a factor of 5 either way: for passes of 8 to 128 samples 0.07 to 0.4 for an MLP
                and 0.01 to 0.13 for a CNN on a CPU.
overlap         log(gamma - 1) for a gamma of 1.5, 1.1 to 3.2: Pollux's penalty draws to 1.
"""

_MISFIT, _MISFIT_DEGREES = 0.08, 3.0
"""Prior of the model's own relative error, and the degrees of freedom that it counts as: the fewest
with which an error has an error. Over all cuts of an update that were timed it is 0.06 for an MLP
and 0.09 for a CNN on a CPU (tests/absa/policy/test_throughput_measured.py)."""

_NUM_DRAWS = 200
"""Then 10 lie beyond either end of a 90 % interval."""

_MOST_GAMMA = 10.0  # as in Pollux: practically the larger of both


def fit_throughput(
    costs: Sequence[UpdateCost], *, confidence: float = 0.9, seed: int = 0
) -> ThroughputModel | Unknown:
    """Fit the model.

    Args:
        costs: Measurements, in the order in which they were made.
        confidence: Of the intervals of what the model predicts, in (0, 1); above 0.98 fewer than
            two draws lie beyond either end.
        seed: Of the draws: the same measurements and seed give the same model.

    Returns:
        The model, or why there is none.

    Raises:
        MeasurementError: The confidence is out of range.
    """
    if not 0 < confidence < 1:
        raise MeasurementError(f"the confidence is {confidence}; it must be above 0 and below 1")
    pooled = pool(costs)
    if not pooled.loads:
        return Unknown(pooled.left_out or "no update was timed")
    problem = _problem(pooled)
    try:
        misfit, degrees, best = _fit(problem, pooled)
        draws = _draw(problem, np.sqrt(misfit**2 + pooled.variance), degrees, best, seed)
    except np.linalg.LinAlgError as error:
        return Unknown(f"the fit failed: {error}")
    parameters = _physical(draws, problem)
    parameters = parameters[np.isfinite(parameters).all(axis=1)]
    if len(parameters) < _NUM_DRAWS // 2:
        return Unknown(
            f"the fit failed: {_NUM_DRAWS - len(parameters)} of {_NUM_DRAWS} draws are not finite"
        )
    return ThroughputModel(parameters, misfit, degrees, _seen(pooled), confidence)


@dataclass(frozen=True, eq=False)
class _Problem:
    """What is fitted: the loads, their log seconds, and what the priors are relative to."""

    loads: tuple[Load, ...]
    log_s: Float[np.ndarray, " loads"]
    typical_samples: float
    typical_log_s: float


def _problem(pooled: Pooled) -> _Problem:
    passes = np.log([load.accumulation_steps for load in pooled.loads])
    samples = np.log([load.pass_samples for load in pooled.loads])
    return _Problem(
        pooled.loads,
        pooled.log_s,
        math.exp(float(np.mean(samples))),
        float(np.mean(pooled.log_s - passes)),
    )


def _physical(
    unbounded: Float[np.ndarray, "draws 8"], problem: _Problem
) -> Float[np.ndarray, "draws 8"]:
    """Return the parameters of `update_seconds`; any real numbers give valid ones."""
    # e^40 is as good as infinite here and far from overflow, even multiplied.
    size, share, summed, growth, nodes, growth_n, step, overlap = np.clip(unbounded, -40, 40).T
    one_pass = np.exp(problem.typical_log_s + size)
    constant = one_pass / (1 + np.exp(-share))
    per_sample = one_pass / (1 + np.exp(share)) / problem.typical_samples
    alpha_r = one_pass * np.exp(summed)
    alpha_n = alpha_r * np.exp(nodes)
    gamma = np.minimum(1 + np.exp(overlap), _MOST_GAMMA)
    return np.stack(
        [
            *(constant, per_sample, alpha_r, alpha_r * np.exp(growth)),
            *(alpha_n, alpha_n * np.exp(growth_n), one_pass * np.exp(step), gamma),
        ],
        axis=1,
    )


def _residuals(
    problem: _Problem,
    log_s: Float[np.ndarray, "draws loads"],
    error: Float[np.ndarray, " loads"],
    centre: Float[np.ndarray, "draws 8"],
) -> Callable[[Float[np.ndarray, "draws 8"]], Float[np.ndarray, "draws residuals"]]:
    """Return the function whose squares are summed: measurements first, then priors."""

    def residuals(unbounded: Float[np.ndarray, "draws 8"]) -> Float[np.ndarray, "draws residuals"]:
        predicted = np.log(update_seconds(_physical(unbounded, problem), problem.loads))
        return np.concatenate([(predicted - log_s) / error, (unbounded - centre) / _SPREAD], axis=1)

    return residuals


def _fit(problem: _Problem, pooled: Pooled) -> tuple[float, float, Float[np.ndarray, "1 8"]]:
    """Return the misfit, its degrees of freedom and the best parameters.

    The misfit decides the weights and follows from the residuals, so both are found in turn; what
    the scatter of the measurements explains is not counted as misfit.
    """
    num, best, misfit = len(problem.loads), _CENTRE[None], _MISFIT
    degrees = _MISFIT_DEGREES
    for _ in range(2):  # the second changes the misfit by about a percent
        error = np.sqrt(misfit**2 + pooled.variance)
        found = solve(_residuals(problem, problem.log_s[None], error, _CENTRE[None]), best)
        best = found.x
        measured = found.jacobian[0, :num]
        curved = found.jacobian[0].T @ found.jacobian[0]
        num_used = float(np.trace(np.linalg.solve(curved, measured.T @ measured)))
        excess = np.maximum((found.residuals[0, :num] * error) ** 2 - pooled.variance, 0).sum()
        degrees = _MISFIT_DEGREES + max(num - num_used, 0.0)
        misfit = math.sqrt((_MISFIT_DEGREES * _MISFIT**2 + float(excess)) / degrees)
    return misfit, degrees, best


def _draw(
    problem: _Problem,
    error: Float[np.ndarray, " loads"],
    degrees: float,
    best: Float[np.ndarray, "1 8"],
    seed: int,
) -> Float[np.ndarray, "draws 8"]:
    """Return the best parameters for measurements and centres that are moved at random."""
    random = np.random.default_rng(seed)
    # The error itself is uncertain: with few degrees of freedom some draws have a large one.
    spread = np.sqrt(degrees / random.chisquare(degrees, (_NUM_DRAWS, 1)))
    moved = problem.log_s + spread * error * random.standard_normal((_NUM_DRAWS, len(error)))
    centre = _CENTRE + _SPREAD * random.standard_normal((_NUM_DRAWS, len(_CENTRE)))
    start = np.repeat(best, _NUM_DRAWS, axis=0)
    return solve(_residuals(problem, moved, error, centre), start).x


def _seen(pooled: Pooled) -> Seen:
    workers = [load.workers for load in pooled.loads]
    samples = [load.pass_samples for load in pooled.loads]
    passes = [load.accumulation_steps for load in pooled.loads]
    nodes = [load.nodes > 1 for load in pooled.loads]
    return Seen(
        workers=(min(workers), max(workers)),
        pass_samples=(min(samples), max(samples)),
        accumulation_steps=(min(passes), max(passes)),
        nodes=(not all(nodes), any(nodes)),
        num_updates=pooled.num_updates,
        num_loads=len(pooled.loads),
        left_out=pooled.left_out,
    )
