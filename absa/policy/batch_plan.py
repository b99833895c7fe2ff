"""How a global batch is cut: workers x passes x micro-batch, integers that multiply out.

`cut_update` deals the samples out; here the micro-batch is chosen for it, and the cut is stated. A
rank holds whole groups and its own passes, so ranks may hold different numbers of them: 256 samples
in groups of 32 over 3 workers are 2 x 1 x 96 + 1 x 1 x 64. Passes of one size throughout would be
3, 3 and 2 of 32 instead: three times as many on the slowest rank, for the same result.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from absa.policy.throughput import Load
from absa.update.cut import Pass, cut_update


class Passes(NamedTuple):
    """Equally large passes of a rank.

    Args:
        num: How many.
        micro_batch: Samples of each.
    """

    num: int
    micro_batch: int

    def __str__(self) -> str:
        return f"{self.num} x {self.micro_batch}"


@dataclass(frozen=True)
class Portion:
    """What each of some ranks takes of an update.

    Args:
        workers: How many ranks.
        passes: Of each of them; of two or more sizes where groups do not divide evenly.
    """

    workers: int
    passes: tuple[Passes, ...]

    @property
    def worker_batch(self) -> int:
        """Samples of each rank."""
        return sum(one.num * one.micro_batch for one in self.passes)

    @property
    def accumulation_steps(self) -> int:
        """Passes of each rank."""
        return sum(one.num for one in self.passes)

    def __str__(self) -> str:
        each = " + ".join(map(str, self.passes))
        return f"{self.workers} x {each if len(self.passes) == 1 else f'({each})'}"


@dataclass(frozen=True)
class BatchPlan:
    """A global batch, cut.

    Args:
        global_batch: Samples of an update: the sum of the portions.
        workers: Ranks.
        micro_batch: Most samples at once through the model, for `absa.settings.Settings`.
        portions: What the ranks hold, largest shares first; those that hold nothing are left out.
    """

    global_batch: int
    workers: int
    micro_batch: int
    portions: tuple[Portion, ...]

    @property
    def worker_batch(self) -> int:
        """Samples of the largest share."""
        return max(portion.worker_batch for portion in self.portions)

    @property
    def accumulation_steps(self) -> int:
        """Most passes of a rank."""
        return max(portion.accumulation_steps for portion in self.portions)

    @property
    def idle(self) -> int:
        """Ranks that hold nothing: there are fewer groups than ranks."""
        return self.workers - sum(portion.workers for portion in self.portions)

    def load(self, workers_per_node: int | None = None) -> Load:
        """Return what it asks of the worker that has most to do.

        Args:
            workers_per_node: How many workers a machine holds, > 0; None: all of them.
        """
        nodes = 1 if workers_per_node is None else -(-self.workers // workers_per_node)
        return Load(self.workers, nodes, self.worker_batch, self.accumulation_steps)

    def __str__(self) -> str:
        return " + ".join(map(str, self.portions)) + f" = {self.global_batch}"


@lru_cache(maxsize=1024)  # the same few candidates are looked at for every decision
def batch_plan(
    global_batch: int, workers: int, *, bn_group: int | None, most_micro: int
) -> BatchPlan:
    """Choose the micro-batch and state the cut.

    The largest micro-batch that fits makes the fewest passes; the smallest that makes no more of
    them is taken, which needs no memory for nothing.

    Args:
        global_batch: Samples of an update, at least 1.
        workers: Ranks, at least 1.
        bn_group: Most samples that share a batch-norm statistic; None when the model has none.
        most_micro: Most samples that fit in memory at once, at least ``bn_group``.

    Raises:
        ConfigError: A number is not positive, or the micro-batch is smaller than ``bn_group``.
    """
    shares = cut_update(global_batch, bn_group=bn_group, micro_batch=most_micro, world_size=workers)
    largest = max(p.size for share in shares for p in share)
    alike = Counter(_passes(share) for share in shares if share)
    portions = tuple(Portion(workers, passes) for passes, workers in alike.items())
    return BatchPlan(global_batch, workers, max(bn_group or 1, largest), portions)


def _passes(share: tuple[Pass, ...]) -> tuple[Passes, ...]:
    return tuple(Passes(num, size) for size, num in Counter(p.size for p in share).items())
