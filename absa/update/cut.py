"""How the samples of an update are cut over ranks and passes.

Three words: a *group* shares one batch-norm statistic, a *share* is what one rank takes, a *pass*
goes through the model at once. Groups depend on the number of samples and ``bn_group`` alone, so
ranks, micro-batch and accumulation never change the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from absa.errors import ConfigError


@dataclass(frozen=True)
class Pass:
    """A run of equally large groups that goes through the model at once.

    Args:
        start: Offset of its first sample within the update.
        num_groups: Groups side by side.
        group_size: Samples in each of them.
    """

    start: int
    num_groups: int
    group_size: int

    @property
    def size(self) -> int:
        """Return the number of samples."""
        return self.num_groups * self.group_size


@lru_cache(maxsize=64)  # nearly every update of an epoch has the same size
def cut_update(
    num_samples: int, *, bn_group: int | None, micro_batch: int, world_size: int
) -> tuple[tuple[Pass, ...], ...]:
    """Cut the samples of an update over ranks and passes.

    The samples are split as evenly as possible into ``ceil(num_samples / bn_group)`` groups, larger
    ones first. Ranks take contiguous runs of whole groups whose numbers differ by at most one,
    larger shares first; the last shares are empty when there are fewer groups than ranks. Within a
    share, runs of equally large groups are cut evenly into as few passes as the micro-batch allows.

    G groups hold more than ``(G - 1) * bn_group`` samples, so all groups together lack fewer than
    ``bn_group`` samples, and so do the groups of a pass: it always holds that
    ``ceil(pass.size / bn_group) == pass.num_groups``, by which a layer can tell the number of
    groups from the size of its input. A group of one sample arises only from one sample, from
    ``bn_group=1``, or from an odd number of samples at ``bn_group=2``.

    Args:
        num_samples: Samples of the update, at least one.
        bn_group: Most samples that share a batch-norm statistic; None when the model has none:
            then single samples are dealt out and a pass is one group.
        micro_batch: Most samples of a pass, at least ``bn_group``.
        world_size: Number of ranks.

    Returns:
        For each rank its passes, in the order of their samples.

    Raises:
        ConfigError: A number is not positive, or the micro-batch is smaller than ``bn_group``.
    """
    _check(num_samples, bn_group, micro_batch, world_size)
    if bn_group is None:
        return tuple(
            tuple(
                Pass(a, 1, b - a) for a, b in _split(start, stop, -(-(stop - start) // micro_batch))
            )
            for start, stop in _split(0, num_samples, world_size)
        )
    groups = _Groups(num_samples, -(-num_samples // bn_group))
    return tuple(
        tuple(_passes(groups, first, last, micro_batch))
        for first, last in _split(0, groups.count, world_size)
    )


def row_order(p: Pass) -> Int64[np.ndarray, " size"]:
    """Return which of a pass's samples, counted from its start, stands in each row.

    Groups are interleaved: row ``j * num_groups + i`` is member j of group i. A batch of shape
    (size, ...) is then a view of shape (group_size, num_groups, ...), and a batch-norm over groups
    needs no copy.
    """
    members = np.arange(p.size, dtype=np.int64)
    return members.reshape(p.num_groups, p.group_size).T.reshape(-1)


@dataclass(frozen=True)
class _Groups:
    """An even split of ``num_samples`` into ``count`` groups, larger ones first."""

    num_samples: int
    count: int

    @property
    def num_larger(self) -> int:
        return self.num_samples % self.count

    def size(self, group: int) -> int:
        return self.num_samples // self.count + (group < self.num_larger)

    def start(self, group: int) -> int:
        return group * (self.num_samples // self.count) + min(group, self.num_larger)


def _passes(groups: _Groups, first: int, last: int, micro_batch: int) -> Iterator[Pass]:
    """Yield the passes over the groups from ``first`` to ``last`` (excluded)."""
    border = min(max(first, groups.num_larger), last)
    for begin, end in ((first, border), (border, last)):
        if begin == end:
            continue
        size = groups.size(begin)
        num_passes = -(-(end - begin) // (micro_batch // size))
        for a, b in _split(begin, end, num_passes):
            yield Pass(groups.start(a), b - a, size)


def _split(start: int, stop: int, parts: int) -> Iterator[tuple[int, int]]:
    """Cut a range into runs whose lengths differ by at most one, longer ones first."""
    if parts == 0:
        return
    length, num_longer = divmod(stop - start, parts)
    for part in range(parts):
        end = start + length + (part < num_longer)
        yield start, end
        start = end


def _check(num_samples: int, bn_group: int | None, micro_batch: int, world_size: int) -> None:
    named = {"num_samples": num_samples, "micro_batch": micro_batch, "world_size": world_size}
    if bn_group is not None:
        named["bn_group"] = bn_group
    for name, value in named.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    if bn_group is not None and micro_batch < bn_group:
        raise ConfigError(
            f"batch.micro is {micro_batch} and batch.bn_group is {bn_group}: a batch-norm group "
            "goes through the model at once, so batch.micro must be at least batch.bn_group"
        )
