"""Trains one network and measures it by every method."""

import functools
import gc
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import add

from absa.curvature.hessian import Hessian
from absa.curvature.problem import Problem
from benchmarks.curvature.cases import EPOCH_UPDATES, Case, Frontier
from benchmarks.curvature.decisions import ASKED, Agreement, agreement, falls
from benchmarks.curvature.frontier import (
    Series,
    Truth,
    cheapest_eigsh,
    cheapest_power,
    cold,
    cold_spots,
    error,
    our_spots,
    truths,
)
from benchmarks.curvature.iterations import (
    Setting,
    lanczos,
    leading,
    power,
    random_start,
)
from benchmarks.curvature.methods import (
    ARPACK,
    AUTHORS,
    PYHESSIAN,
    Measurement,
    Method,
    asked,
    by_curvlinops,
    by_pyhessian,
    cold_power,
    follow,
    ours,
    tracker,
)
from benchmarks.curvature.rows import decision_rows, frontier_rows, method_rows, sampling_rows
from benchmarks.curvature.samples import problem
from benchmarks.curvature.sampling import sampling_errors
from benchmarks.curvature.synthetic import shape_of, synthetic_agreement
from benchmarks.curvature.tables import decision_table, frontier_table, sampling_table
from benchmarks.curvature.training import Run, cifar10, train
from benchmarks.measure import Row

WALK_POINTS = 40
"""Of each synthetic walk: about four falls."""


@dataclass
class Result:
    """What is printed of a case: rows, and tables with their headings."""

    rows: list[Row] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)


def run_case(case: Case) -> Result:
    """Train, then measure."""
    task, result = cifar10(case.model), Result()
    with _told(f"{case.model}: training"):
        run = train(case, task)
    gc.collect()
    model = task.build_model()
    exact: list[Truth] = []
    for num in reversed(case.samples):  # the smallest last: sampling begins with its vectors
        exact = _numerical(case, run, problem(task, model, num), num, result)
    if case.sampling is not None:
        with _told(f"{case.model}: errors of sampling"):
            sampled = sampling_errors(run.points, exact, task, model, case.sampling)
        name = f"{case.model} after {run.updates[0]} to {run.updates[-1]} updates"
        result.rows += sampling_rows(name, sampled, default=case.samples[0])
        result.tables.append(f"{name}: errors of sampling\n\n{sampling_table(sampled)}")
    return result


@dataclass(frozen=True)
class _Followed:
    """A run whose curvature is measured on the same samples at all its points.

    Args:
        name: In tables.
        run: With its points.
        of: The loss; its model is loaded with each point.
        exact: The converged values.
    """

    name: str
    run: Run
    of: Problem
    exact: Sequence[Truth]

    @property
    def epoch_s(self) -> float:
        """Seconds of an epoch of the whole training set."""
        return self.run.update_s * EPOCH_UPDATES

    def median_error(self, found: Sequence[Measurement]) -> float:
        """Return a method's error, without the first point."""
        pairs = zip(found[1:], self.exact[1:], strict=True)
        return statistics.median(error(m.answer.estimate.value, truth.value) for m, truth in pairs)


def _numerical(case: Case, run: Run, of: Problem, num: int, result: Result) -> list[Truth]:
    """Measure with so many samples by every method; return the converged values."""
    name = f"{case.model}, N = {num}, every {case.updates} updates"
    with _told(f"{name}: converged values"):
        exact = truths(run.points, of)
    followed = _Followed(name, run, of, exact)
    with _told(f"{name}: methods as they are"):
        found = follow(run.points, of, _methods())
    result.rows += method_rows(name, found, exact, followed.epoch_s, judged="PyHessian")
    if case.frontier is not None:
        _frontier(followed, case.frontier, followed.median_error(found["ours"]), result)
    _decisions(followed, found, case.epochs_per_point, result)
    if case.walks > 0:
        with _told(f"{name}: synthetic walks"):
            _synthetic(followed, case.walks, result)
    result.tables.append(_about(followed))
    return exact


def _frontier(followed: _Followed, how: Frontier, wanted: float, result: Result) -> None:
    """Measure error against price, and the peers where their error is the one wanted."""
    name, points, of, exact = followed.name, followed.run.points, followed.of, followed.exact
    with _told(f"{name}: frontier"):
        powers = cold(points, of, power, how.cold_products)
        krylovs = cold(points, of, lanczos, how.cold_products)
        spots = our_spots(points, of, exact, how.budgets)
    with _told(f"{name}: peers at our error"):
        peer, equal = _equal_error(followed, powers, wanted)
        again = follow(points, of, equal)
    result.rows += method_rows(name, again, exact, followed.epoch_s, equal=peer)
    cold_ones = {
        "cold Lanczos": cold_spots("cold Lanczos", krylovs, exact),
        "cold power": cold_spots("cold power", powers, exact),
    }
    result.rows += frontier_rows(name, spots, cold_ones)
    every = [*spots, *(spot for each in cold_ones.values() for spot in each)]
    result.tables.append(f"{name}: frontier\n\n{frontier_table(every)}")


def _methods() -> dict[str, Method]:
    how = tracker()
    return {
        "ours": ours(how),
        ASKED: asked(how),
        "PyHessian": by_pyhessian(PYHESSIAN),
        f"curvlinops + eigsh, tol {ARPACK.tolerance:g}": by_curvlinops(ARPACK),
        "authors' recipe": cold_power(AUTHORS),
    }


def _equal_error(
    followed: _Followed, powers: Sequence[Series], wanted: float
) -> tuple[str, dict[str, Method]]:
    """Return PyHessian's new name, and the methods with the peers set to be as exact as ours."""
    exact = followed.exact
    values = [truth.value for truth in exact[1:]]
    setting = cheapest_power([each.values for each in powers[1:]], values, wanted)
    said = "set to our error"
    if setting is None:
        setting, said = Setting(len(powers[0].values), 0.0), "still worse than ours"
    arpack = cheapest_eigsh(followed.run.points, followed.of, exact, wanted)
    peer = f"PyHessian, maxIter {setting.max_products}, tol {setting.tolerance:g} ({said})"
    other = f"curvlinops, ncv {arpack.num_vectors}, tol {arpack.tolerance:g} (set to our error)"
    return peer, {
        "ours": ours(tracker()),
        peer: by_pyhessian(setting),
        other: by_curvlinops(arpack),
    }


def _decisions(
    followed: _Followed,
    found: Mapping[str, Sequence[Measurement]],
    epochs_per_point: float,
    result: Result,
) -> None:
    truth = falls([each.value for each in followed.exact])
    decided: dict[str, Agreement] = {}
    for method, measurements in found.items():
        answers = [each.answer for each in measurements]
        own = [answer.fell for answer in answers if answer.fell is not None]
        by_value = falls([answer.estimate.value for answer in answers])
        decided[method] = agreement(own or by_value, truth)
    result.rows += decision_rows(followed.name, decided)
    table = decision_table(decided, epochs_per_point)
    result.tables.append(f"{followed.name}: has it halved?\n\n{table}")


def _synthetic(followed: _Followed, num_walks: int, result: Result) -> None:
    """Let the methods decide about made-up matrices of this run's shape."""
    points = followed.run.points
    followed.of.model.load_state_dict(points[len(points) // 2])
    with Hessian(followed.of) as operator:
        spectrum = leading(operator, random_start(operator, 0), num=30)
    shape = shape_of(spectrum, [truth.vector for truth in followed.exact])
    powers = {"PyHessian": PYHESSIAN, "authors' recipe": AUTHORS}
    walks = [
        synthetic_agreement(shape, WALK_POINTS, tracker(), powers, seed)
        for seed in range(num_walks)
    ]
    decided = {n: functools.reduce(add, (walk[n] for walk in walks)) for n in walks[0]}
    about = f"synthetic, like {followed.name}"
    result.rows += decision_rows(about, decided)
    result.tables.append(
        f"{about} (first eigenvector's overlap {shape.overlap:.2f}, second eigenvalue "
        f"{spectrum[1] / spectrum[0]:.2f} of the first): has it halved?\n\n"
        f"{decision_table(decided, None)}"
    )


def _about(followed: _Followed) -> str:
    values = ", ".join(f"{truth.value:.3g}" for truth in followed.exact)
    products = statistics.median(truth.num_products for truth in followed.exact)
    return (
        f"{followed.name}: converged values {values}; {products:g} products each; update "
        f"{followed.run.update_s:.3g} s, so {EPOCH_UPDATES} of an epoch {followed.epoch_s:.0f} s"
    )


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say on stderr how long something took."""
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
