"""How far our noise scale and the peers' are from the exact one, over 20 seeds."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from absa.collective import Collective
from absa.noise_scale.config import DEFAULT_WINDOW_UPDATES
from absa.noise_scale.estimate import Estimate
from absa.order import SampleOrder
from benchmarks.noise_scale.engine import ALL_ALIKE, Listening, Updates, build
from benchmarks.noise_scale.peers import (
    DIFFERENCES,
    TWO_BATCHES,
    averaged,
    differences,
    two_batches,
)
from benchmarks.noise_scale.regression import (
    DIMENSIONS,
    Exact,
    Problem,
    Regression,
    Update,
    draw,
    updates,
)

NUM_SEEDS = 20
READ_UPDATES = 2 * DEFAULT_WINDOW_UPDATES
"""Between readings, which then share 1/e^2 of their weight."""

NUM_TRAIN = 20480
"""Batches divide it: the peers know no short ones."""
NUM_TRAIN_MOVING = 204800
"""A run sees a part of it. Weights that have fitted the samples gone by in an epoch are wrong on
those to come by more than on all: with a tenth of the samples that would be several per cent."""

PEERS: dict[str, Callable[[Iterable[Update], int], Iterator[Estimate]]] = {
    TWO_BATCHES: two_batches,
    DIFFERENCES: differences,
}


@dataclass(frozen=True)
class Case:
    """A way in which an update shows its noise.

    Args:
        name: Of the case.
        updates: How they are made; not frozen weights are read once, at the end.
        listening: How we look at them.
        peer: Who sees the same gradients, in every update.
        ranks: How many make an update.
        length: Updates, in multiples of those of the other cases.
    """

    name: str
    updates: Updates
    listening: Listening
    peer: str | None = None
    ranks: int = 1
    length: int = 1


CASES = (
    Case("4 passes of 32", Updates(128, 32), Listening(1), TWO_BATCHES),
    Case("2 ranks of 64", Updates(128, 64), Listening(1), TWO_BATCHES, ranks=2),
    Case("halves of 128", Updates(128, 128), Listening(1), DIFFERENCES),
    Case("halves of 128, every 10", Updates(128, 128), Listening(10), DIFFERENCES, length=4),
    Case("128 and a probe", Updates(128, 128, bn_group=128), Listening(1, 1), DIFFERENCES),
    Case(
        "halves of 32, weights move",
        Updates(32, 32, lr=0.2),
        Listening(1, window_updates=ALL_ALIKE),
        DIFFERENCES,
    ),
)


@dataclass(frozen=True)
class Reading:
    """One reading of a noise scale.

    Args:
        seed: Of the run.
        read: tr(Sigma) and |G|^2 as read.
        exact: As they were.
        covers: Whether the interval holds the exact noise scale; None without interval.
    """

    seed: int
    read: Estimate
    exact: Estimate
    covers: bool | None = None

    @property
    def ratio(self) -> float:
        """Return the noise scale over the exact one."""
        return self.read.trace / self.read.gradient_sq / noise_scale(self.exact)


def noise_scale(value: Estimate) -> float:
    """Return tr(Sigma) / |G|^2."""
    return value.trace / value.gradient_sq


def our_readings(
    collective: Collective, case: Case, num_updates: int, seeds: Sequence[int]
) -> list[Reading]:
    """Return what our loop says in a case, at every seed."""
    torch.set_num_threads(1)  # there is nothing to share out
    found = []
    for seed in seeds:
        problem = drawn(case, seed)
        engine = build(
            Regression(problem),
            replace(case.updates, seed=seed),
            replace(case.listening, observe_updates=_between(case, num_updates)),
            collective,
        )
        for _ in range(num_updates):
            engine.loop.step()
        engine.loop.close()
        exact = exactly(case, problem, seed, num_updates)
        for said in engine.kept.observations:
            upper = said["noise_upper"]
            covers = upper is None or noise_scale(exact) <= upper
            covers = covers and said["noise_lower"] <= noise_scale(exact)
            read = Estimate(said["noise_trace"], said["gradient_sq"])
            found.append(Reading(seed, read, exact, covers))
    return found


def peer_readings(case: Case, num_updates: int, seeds: Sequence[int]) -> list[Reading]:
    """Return what the peer of a case says, from the same samples and weights."""
    assert case.peer is not None
    found = []
    for seed in seeds:
        problem = drawn(case, seed)
        seen = islice(_updates(case, problem, seed), num_updates)
        values = PEERS[case.peer](seen, case.updates.batch)
        exact = exactly(case, problem, seed, num_updates)
        if case.updates.lr:
            reads = [mean(list(values))]
        else:
            every = averaged(values, 1 - 1 / case.listening.window_updates)
            # Differences say nothing of the first update.
            first = READ_UPDATES - 1 - (case.peer == DIFFERENCES)
            reads = list(islice(every, first, None, READ_UPDATES))
        found += [Reading(seed, read, exact) for read in reads]
    return found


def drawn(case: Case, seed: int) -> Problem:
    """Return the training set of a seed."""
    return draw(seed, NUM_TRAIN_MOVING if case.updates.lr else NUM_TRAIN)


def exactly(case: Case, problem: Problem, seed: int, num_updates: int) -> Estimate:
    """Return the exact values over the training set: the mean of those before each update."""
    exact = Exact(problem)
    if not case.updates.lr:
        return exact(np.zeros(DIMENSIONS))
    seen = islice(_updates(case, problem, seed), num_updates)
    return mean([exact(update.weights) for update in seen])


def mean(values: Sequence[Estimate]) -> Estimate:
    """Return the mean of each of the two numbers."""
    return Estimate(
        statistics.fmean(value.trace for value in values),
        statistics.fmean(value.gradient_sq for value in values),
    )


def _between(case: Case, num_updates: int) -> int:
    return num_updates if case.updates.lr else READ_UPDATES


def _updates(case: Case, problem: Problem, seed: int) -> Iterator[Update]:
    cut = case.updates.batch, case.updates.micro_batch
    return updates(problem, SampleOrder(seed, len(problem.y)), cut, case.updates.lr)
