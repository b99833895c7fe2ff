"""How a run measures its curvature: with what, and on which samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int64

from absa.collective import Collective
from absa.curvature.operator import CurvatureOperator
from absa.curvature.problem import Problem
from absa.curvature.tracker import TrackerState
from absa.order import hash_words
from absa.signals import Curvature, FallTest
from absa.task import Batch
from absa.update.replica import Replica, to_device, weights_of

VECTORS = "curvature"
"""The tensor of a replica's signals that the tracker's vectors are in."""

_STREAM = 4
"""Keeps the words that choose curvature samples apart from those of `absa.order`."""


MakeOperator = Callable[[Problem], CurvatureOperator]


class Tracker(Protocol):
    """Measures curvature time and again; what it has learnt is in a state of its own."""

    def measure(
        self, problem: Problem, state: Any, question: FallTest | None = None
    ) -> tuple[Any, Curvature]:
        """Return the next state and what was found; ``state`` is None at first."""
        ...


@dataclass(frozen=True)
class CurvatureProbe:
    """How a run measures its curvature.

    Args:
        tracker: With what.
        operator: What it multiplies with.
        indices: On which training samples, ascending; the same for the whole run.
        micro_batch: Most of them at once through the model.
        seed: Of what the tracker draws.
    """

    tracker: Tracker
    operator: MakeOperator
    indices: Int64[np.ndarray, " n"]
    micro_batch: int
    seed: int = 0


def choose_samples(seed: int, num_train: int, num: int) -> Int64[np.ndarray, " n"]:
    """Choose samples of the training set at random, the same at every call.

    Args:
        seed: The run's.
        num_train: Size of the training set.
        num: How many; all, if there are not so many.

    Returns:
        Their indices, ascending; each once.
    """
    words = hash_words(_STREAM, seed, index=np.arange(num_train, dtype=np.int64))
    return np.sort(np.argsort(words, kind="stable")[:num]).astype(np.int64)


def problem_of(probe: CurvatureProbe, replica: Replica, collective: Collective) -> Problem:
    """Return what the ranks measure together: each takes a part of the samples.

    Args:
        probe: On which samples.
        replica: Its model is measured as it is now.
        collective: The ranks.
    """
    task = replica.task
    return Problem(
        replica.model,
        task.losses,
        _passes(probe, replica, collective),
        weights_of(task),
        collective,
    )


def recall(probe: CurvatureProbe, replica: Replica, num_measurements: int) -> TrackerState | None:
    """Return what the tracker knows, or None if it knows nothing.

    Args:
        probe: Whose tracker.
        replica: Keeps the vectors.
        num_measurements: So far.
    """
    if num_measurements == 0 or VECTORS not in replica.signals:
        return None
    return TrackerState(replica.signals[VECTORS], num_measurements, probe.seed)


def remember(replica: Replica, state: TrackerState | None) -> None:
    """Keep the tracker's vectors in the replica's own tensor; room that is left over is zero."""
    if state is not None and VECTORS in replica.signals:
        room, found = replica.signals[VECTORS], state.vectors
        if found.data_ptr() == room.data_ptr():
            return  # nothing was measured: it is what it was
        room[: len(found)].copy_(found)
        room[len(found) :].zero_()


def _passes(probe: CurvatureProbe, replica: Replica, collective: Collective) -> Sequence[Batch]:
    mine = np.array_split(probe.indices, collective.world_size)[collective.rank]
    num_passes = -(-len(mine) // probe.micro_batch)
    parts = np.array_split(mine, num_passes) if num_passes else []
    # Without keys there is no augmentation: the samples are the same at every measurement.
    return [
        replica.train.transform(to_device(replica.train.fetch(part, None), replica.device))
        for part in parts
    ]
