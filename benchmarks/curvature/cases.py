"""What is trained, how far, and on which samples curvature is then measured."""

from dataclasses import dataclass
from typing import Literal

BATCH = 128
EPOCH_UPDATES = 391
"""Updates of an epoch of CIFAR-10 at that batch: what a measurement's share of time refers to."""


@dataclass(frozen=True)
class Sampling:
    """How the error that few samples make is measured.

    Args:
        points: At so many points of the run, the first and the last among them; at least 1.
        sizes: Numbers of curvature samples that are tried.
        draws: Independent choices of samples of each size but the largest, which has one.
        reference: Samples of what is taken for the truth.
        tolerance: To which that is found.
    """

    points: int
    sizes: tuple[int, ...]
    draws: int
    reference: int
    tolerance: float


@dataclass(frozen=True)
class Frontier:
    """How error against price is measured.

    Args:
        budgets: The tracker's ``max_products``.
        cold_products: Of each cold start; the peers are also set to our error within so many.
    """

    budgets: tuple[int, ...]
    cold_products: int


@dataclass(frozen=True)
class Case:
    """A network, its run, and what is measured of it.

    Args:
        model: Name of a built-in network.
        updates: Between two points.
        points: How many; the first is after ``updates``.
        samples: Curvature samples; one sequence of measurements for each number.
        frontier: None: neither that nor peers at our error.
        walks: Synthetic sequences; 0: none.
        sampling: None: the error of sampling is not measured.
    """

    model: str
    updates: int
    points: int
    samples: tuple[int, ...]
    frontier: Frontier | None
    walks: int
    sampling: Sampling | None

    @property
    def epochs_per_point(self) -> float:
        """Return how much of an epoch lies between two points."""
        return self.updates / EPOCH_UPDATES


_BUDGETS = tuple(range(1, 13))
_SIZES = (32, 128, 512)
_FEW = Sampling(points=2, sizes=(32, 128), draws=2, reference=512, tolerance=0.02)
_SOME = Sampling(points=2, sizes=_SIZES, draws=4, reference=10_000, tolerance=0.01)
_MANY = Sampling(points=5, sizes=_SIZES, draws=8, reference=10_000, tolerance=0.01)

_CASES: dict[str, tuple[Case, ...]] = {
    "quick": (Case("resnet20", 16, 5, (32,), Frontier((1, 2, 3, 4, 6, 12), 24), 2, _FEW),),
    "usual": (
        Case("resnet20", 98, 10, (32,), Frontier(_BUDGETS, 40), 10, _SOME),
        Case("resnet18", 6, 3, (32,), None, 0, None),
    ),
    "full": (
        Case("resnet20", 391, 15, (32, 128), Frontier(_BUDGETS, 100), 25, _MANY),
        Case("resnet18", 98, 6, (32,), Frontier(_BUDGETS, 60), 10, _SOME),
    ),
}


def cases(size: Literal["quick", "usual", "full"]) -> tuple[Case, ...]:
    """Return the runs of a size of benchmark.

    Quick: parts of an epoch of resnet20 and 512 samples in place of 10,000. Usual: resnet20 over
    two and a half epochs, and so few updates of resnet18 that they say what it costs and little of
    how its curvature changes. Full: one measurement an epoch.
    """
    return _CASES[size]
