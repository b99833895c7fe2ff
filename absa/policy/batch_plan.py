"""How a global batch is cut: workers x passes x micro-batch, integers that multiply out.

`cut_update` deals the samples out; here the micro-batch is chosen for it, and the cut is stated. A
rank holds whole groups and its own passes, so ranks may hold different numbers of them: 256 samples
in groups of 32 over 3 workers are 2 x 1 x 96 + 1 x 1 x 64. Passes of one size throughout would need
3, 3 and 2 of 32 instead: three times as many on the slowest rank, for the same result.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from absa.policy.throughput import Load
from absa.update.cut import Pass, cut_update


@dataclass(frozen=True)
class Portion:
    """Equal passes of ranks that hold equally many of them.

    Args:
        workers: How many ranks hold such passes.
        accumulation_steps: How many of them each holds.
        micro_batch: Samples of a pass.
    """

    workers: int
    accumulation_steps: int
    micro_batch: int

    @property
    def samples(self) -> int:
        """Their product."""
        return self.workers * self.accumulation_steps * self.micro_batch

    def __str__(self) -> str:
        return f"{self.workers} x {self.accumulation_steps} x {self.micro_batch}"


@dataclass(frozen=True)
class BatchPlan:
    """A global batch, cut.

    Args:
        global_batch: Samples of an update: the sum of the portions.
        workers: Ranks; some hold nothing where there are fewer groups than ranks.
        micro_batch: Most samples at once through the model, for `absa.settings.Settings`.
        portions: What the ranks hold, largest shares first. A rank whose share is cut into passes
            of two sizes appears in two of them.
        worker_batch: Samples of the largest share.
        accumulation_steps: Passes of the largest share, which no other share exceeds.
        idle: Ranks that hold nothing.
    """

    global_batch: int
    workers: int
    micro_batch: int
    portions: tuple[Portion, ...]
    worker_batch: int
    accumulation_steps: int
    idle: int

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
    return BatchPlan(
        global_batch=global_batch,
        workers=workers,
        micro_batch=max(bn_group or 1, *(p.size for share in shares for p in share), 1),
        portions=_portions(shares),
        worker_batch=sum(p.size for p in shares[0]),
        accumulation_steps=max(map(len, shares)),
        idle=sum(not share for share in shares),
    )


def _portions(shares: tuple[tuple[Pass, ...], ...]) -> tuple[Portion, ...]:
    alike = Counter(tuple(Counter(p.size for p in share).items()) for share in shares)
    return tuple(
        Portion(num_ranks, num_passes, size)
        for rank, num_ranks in alike.items()
        for size, num_passes in rank
    )
