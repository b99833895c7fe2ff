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
from benchmarks.curvature.decisions import Agreement, agreement, falls
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


def _numerical(case: Case, run: Run, of: Problem, num: int, result: Result) -> list[Truth]:
    """Measure with so many samples by every method; return the converged values."""
    name = f"{case.model}, N = {num}, every {case.updates} updates"
    with _told(f"{name}: converged values"):
        exact = truths(run.points, of)
    with _told(f"{name}: methods as they are"):
        found = follow(run.points, of, _methods())
    result.rows += method_rows(name, found, exact, epoch_s(run), judged="PyHessian")
    if case.frontier is not None:
        wanted = _median_error(found["ours"], exact)
        _frontier(name, case.frontier, run, of, exact, wanted, result)
    _decisions(case, name, found, exact, result)
    if case.walks > 0:
        with _told(f"{name}: synthetic walks"):
            _synthetic(case, name, run, of, exact, result)
    result.tables.append(_about(name, run, exact))
    return exact


def epoch_s(run: Run) -> float:
    """Return the seconds of an epoch of the whole training set."""
    return run.update_s * EPOCH_UPDATES


def _frontier(
    name: str,
    how: Frontier,
    run: Run,
    of: Problem,
    exact: Sequence[Truth],
    wanted: float,
    result: Result,
) -> None:
    """Measure error against price, and the peers where their error is the one wanted."""
    with _told(f"{name}: frontier"):
        powers = cold(run.points, of, power, how.cold_products)
        krylovs = cold(run.points, of, lanczos, how.cold_products)
        spots = our_spots(run.points, of, exact, how.budgets)
    with _told(f"{name}: peers at our error"):
        peer, equal = _equal_error(run, of, powers, exact, wanted)
        again = follow(run.points, of, equal)
    result.rows += method_rows(name, again, exact, epoch_s(run), equal=peer)
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
        "ours, asked whether halved": asked(how),
        "PyHessian": by_pyhessian(PYHESSIAN),
        f"curvlinops + eigsh, tol {ARPACK.tolerance:g}": by_curvlinops(ARPACK),
        "authors' recipe": cold_power(AUTHORS),
    }


def _equal_error(
    run: Run, of: Problem, powers: Sequence[Series], exact: Sequence[Truth], wanted: float
) -> tuple[str, dict[str, Method]]:
    """Return PyHessian's new name, and the methods with the peers set to be as exact as ours."""
    values = [truth.value for truth in exact[1:]]
    setting = cheapest_power([each.values for each in powers[1:]], values, wanted)
    said = "our error"
    if setting is None:
        setting, said = Setting(len(powers[0].values), 0.0), "still worse than ours"
    arpack = cheapest_eigsh(run.points, of, exact, wanted)
    peer = f"PyHessian, maxIter {setting.max_products}, tol {setting.tolerance:g} ({said})"
    other = f"curvlinops + eigsh, ncv {arpack.num_vectors}, tol {arpack.tolerance:g} (our error)"
    return peer, {
        "ours": ours(tracker()),
        peer: by_pyhessian(setting),
        other: by_curvlinops(arpack),
    }


def _median_error(found: Sequence[Measurement], exact: Sequence[Truth]) -> float:
    pairs = zip(found[1:], exact[1:], strict=True)
    return statistics.median(error(m.answer.estimate.value, truth.value) for m, truth in pairs)


def _decisions(
    case: Case,
    name: str,
    found: Mapping[str, Sequence[Measurement]],
    exact: Sequence[Truth],
    result: Result,
) -> None:
    truth = falls([each.value for each in exact])
    decided: dict[str, Agreement] = {}
    for method, measurements in found.items():
        answers = [each.answer for each in measurements]
        own = [answer.fell for answer in answers if answer.fell is not None]
        by_value = falls([answer.estimate.value for answer in answers])
        decided[method] = agreement(own or by_value, truth)
    result.rows += decision_rows(name, decided)
    table = decision_table(decided, case.epochs_per_point)
    result.tables.append(f"{name}: has it halved?\n\n{table}")


def _synthetic(
    case: Case, name: str, run: Run, of: Problem, exact: Sequence[Truth], result: Result
) -> None:
    of.model.load_state_dict(run.points[len(run.points) // 2])
    with Hessian(of) as operator:
        spectrum = leading(operator, random_start(operator, 0), num=30)
    shape = shape_of(spectrum, [truth.vector for truth in exact])
    powers = {"PyHessian": PYHESSIAN, "authors' recipe": AUTHORS}
    walks = [
        synthetic_agreement(shape, WALK_POINTS, tracker(), powers, seed)
        for seed in range(case.walks)
    ]
    decided = {n: functools.reduce(add, (w[n] for w in walks)) for n in walks[0]}
    about = f"synthetic, like {name}"
    result.rows += decision_rows(about, decided)
    result.tables.append(
        f"{about} (first eigenvector's overlap {shape.overlap:.2f}, second eigenvalue "
        f"{spectrum[1] / spectrum[0]:.2f} of the first): has it halved?\n\n"
        f"{decision_table(decided, None)}"
    )


def _about(name: str, run: Run, exact: Sequence[Truth]) -> str:
    values = ", ".join(f"{truth.value:.3g}" for truth in exact)
    products = statistics.median(truth.num_products for truth in exact)
    return (
        f"{name}: converged values {values}; {products:g} products each; update {run.update_s:.3g} "
        f"s, so {EPOCH_UPDATES} of an epoch {epoch_s(run):.0f} s"
    )


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Say on stderr how long something took."""
    began = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
