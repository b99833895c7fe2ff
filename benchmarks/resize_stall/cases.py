"""What is measured: models of three sizes, and changes of the number of workers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

INPUTS, CLASSES = 256, 10

CPUS_PER_WORKER = 0.125
"""What Ray reserves: so little that two groups of four fit on one core, and none waits for the
resources of the one before."""


@dataclass(frozen=True)
class Size:
    """A multi-layer perceptron and the batch of one update, over all workers.

    The batches are such that an update takes 0.02 - 0.2 s with one worker and one thread.

    Args:
        name: Parameters, rounded.
        hidden: Width of each hidden layer.
        layers: Square layers between the first and the last.
        batch: Samples; a multiple of 4, the most workers.
    """

    name: str
    hidden: int
    layers: int
    batch: int

    @property
    def num_parameters(self) -> int:
        """Return the number of weights and biases."""
        inner = self.layers * self.hidden * (self.hidden + 1)
        return (INPUTS + 1) * self.hidden + inner + (self.hidden + 1) * CLASSES

    @property
    def state_bytes(self) -> int:
        """Return the bytes that a newcomer needs: parameters and momentum, both fp32."""
        return 2 * 4 * self.num_parameters


SIZES = (
    Size("1M", hidden=880, layers=1, batch=256),
    Size("11M", hidden=2280, layers=2, batch=64),
    Size("25M", hidden=3470, layers=2, batch=32),
)


@dataclass(frozen=True)
class Change:
    """A number of workers and the next one.

    Args:
        before: Workers, >= 1.
        after: Workers, >= 1.
        victim: The rank that is ended by SIGKILL, or None when the change was asked for.
    """

    before: int
    after: int
    victim: int | None = None

    @property
    def name(self) -> str:
        """Return it in a few words."""
        if self.victim is None:
            return f"{self.before} -> {self.after}"
        return f"kill rank {self.victim} of {self.before}"


GROW, SHRINK = Change(1, 2), Change(2, 1)
KILL_FIRST, KILL_OTHER = Change(2, 1, victim=0), Change(2, 1, victim=1)


@dataclass(frozen=True)
class Script:
    """What happens in one run, in this order; each change begins where the one before ended."""

    size: Size
    changes: tuple[Change, ...]

    @property
    def max_workers(self) -> int:
        """Return the size of its largest group."""
        return max(max(change.before, change.after) for change in self.changes)


_QUICK = (
    GROW,
    SHRINK,
    GROW,
    KILL_FIRST,
    GROW,
    SHRINK,
    GROW,
    KILL_OTHER,
    GROW,
    SHRINK,
    GROW,
    KILL_FIRST,
)


class OffScriptError(RuntimeError):
    """A run did not do what its script says: newcomers of a loaded machine came one by one, say."""


ROUNDS = 5
"""Each kill is measured once a round."""

_ROUND = (GROW, Change(2, 4), Change(4, 2), SHRINK, GROW, KILL_FIRST, GROW, KILL_OTHER)


def scripts(asked: Literal["quick", "usual", "full"]) -> list[Script]:
    """Return the runs of a size of benchmark, in their order.

    Quick: one for each of two models. Else: rounds over the models, so that what disturbs the
    machine for some minutes disturbs all of them.
    """
    if asked == "quick":
        return [Script(size, _QUICK) for size in SIZES[:2]]
    sizes = SIZES if asked == "full" else SIZES[:2]
    return [Script(size, _ROUND) for _ in range(ROUNDS) for size in sizes]


def distinct(planned: Iterable[Script]) -> list[tuple[Size, Change]]:
    """Return each change of each model once, in the order in which they first come."""
    pairs = ((script.size, change) for script in planned for change in script.changes)
    return sorted(dict.fromkeys(pairs), key=lambda pair: pair[0].num_parameters)
