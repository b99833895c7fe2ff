"""Running statistics of batch-norm that move once per update, by all groups of all its passes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from absa.errors import TaskError
from absa.models.ghost_batch_norm import GhostBatchNorm, PendingGroups, batch_norms


class RunningStatistics:
    """Gathers what the ghost batch-norms of a model see in an update, and commits it at its end.

    From its making until `close`, training passes leave the running statistics alone. What they
    find gathers here, `pack` writes it as sums to where the ranks are summed, and `commit` applies
    the total, which is the same on every rank and for any cut into ranks and passes. A few tensor
    operations each, whatever the number of modules; nothing waits for the device.

    Args:
        model: With any number of ghost batch-norms, none included; already on its device and in
            its dtype, its momenta final.

    Raises:
        TaskError: Batch-norms on several devices or of several dtypes, or another
            `RunningStatistics` holds the model.
    """

    size: int
    """Floats that `pack` writes: twice the channels, and one count per module."""

    def __init__(self, model: nn.Module) -> None:
        self._norms = [norm for norm in batch_norms(model) if norm.track_running_stats]
        if any(norm.pending is not None for norm in self._norms):
            raise TaskError("the model's running statistics are gathered already; close that first")
        self._running, self._tracked = _buffers(self._norms)
        sizes = [2 * norm.num_features for norm in self._norms]
        self._num_values = sum(sizes)
        self.size = self._num_values + len(sizes)
        if not self._norms:
            return
        like = self._running[0]
        self._pending_values = like.new_zeros(self._num_values + self.size)
        self._averages, self._sums = torch.split(
            self._pending_values, [self._num_values, self.size]
        )
        owners = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        self._owners = owners.to(like.device)
        momenta = [norm.momentum for norm in self._norms]
        self._kept = like.new_tensor([1 - (m or 0) for m in momenta], dtype=torch.float64)
        self._cumulative: Tensor | None = None
        if None in momenta:
            self._cumulative = torch.tensor([m is None for m in momenta], device=like.device)
        # Flat copies and their parts are made once: slicing them anew would cost more than the
        # arithmetic of a commit.
        self._moved = torch.empty_like(self._averages)
        self._moved_parts = torch.split(self._moved, [buffer.numel() for buffer in self._running])
        self._num_new = torch.empty(len(sizes), dtype=torch.int64, device=like.device)
        self._num_new_parts = self._num_new.unbind()
        self._pending = [
            PendingGroups(average.view(2, -1), sums.view(2, -1), count)
            for average, sums, count in zip(
                torch.split(self._averages, sizes),
                torch.split(self._sums[: self._num_values], sizes),
                self._sums[self._num_values :].unbind(),
                strict=True,
            )
        ]
        for norm, pending in zip(self._norms, self._pending, strict=True):
            norm.pending = pending

    def pack(self, out: Float[Tensor, " size"]) -> None:
        """Write this rank's sums since the last call to ``out`` and start anew.

        Args:
            out: Overwritten; `size` floats of any dtype on the model's device. Sums over ranks
                keep their meaning.
        """
        if not self._norms:
            return
        values, counts = out[: self._num_values], out[self._num_values :]
        num_groups = [pending.num_groups for pending in self._pending]
        if len(set(num_groups)) == 1:
            counts.fill_(num_groups[0])
            torch.mul(self._averages, num_groups[0], out=values)
        else:
            counts.copy_(torch.tensor(num_groups), non_blocking=True)
            torch.mul(self._averages, counts.index_select(0, self._owners), out=values)
        out.add_(self._sums)
        self.discard()

    def commit(self, packed: Float[Tensor, " size"]) -> None:
        """Move the running statistics by the groups of a whole update, summed over the ranks.

        A module that saw no group in the update keeps what it has.
        """
        if not self._norms:
            return
        values, counts = packed[: self._num_values], packed[self._num_values :]
        num_groups = counts.double()
        # In float64: for one group 1 - (1 - momentum) must give the momentum back.
        weights = 1 - self._kept**num_groups
        if self._cumulative is not None:
            tracked = torch.stack(self._tracked) + num_groups
            weights = torch.where(self._cumulative, num_groups / tracked.clamp(min=1), weights)
        average = values / counts.clamp(min=1).index_select(0, self._owners)
        weight = weights.to(self._moved.dtype).index_select(0, self._owners)
        torch.cat(self._running, out=self._moved)
        self._moved.lerp_(average.to(self._moved.dtype), weight)
        torch._foreach_copy_(self._running, self._moved_parts)
        self._num_new.copy_(counts)
        torch._foreach_add_(self._tracked, self._num_new_parts)

    def discard(self) -> None:
        """Forget what has gathered: the update was skipped, or its samples weigh nothing."""
        for pending in self._pending if self._norms else ():
            pending.num_groups = 0
        if self._norms:
            self._pending_values.zero_()  # nan too, which an average would keep for ever

    def close(self) -> None:
        """Forget what has gathered and let each training pass commit its own again."""
        self.discard()
        for norm in self._norms:
            norm.pending = None


@contextmanager
def statistics_ignored(model: nn.Module) -> Iterator[None]:
    """Let no pass inside the block count in running statistics, training mode included.

    For passes that are not training: curvature, a sample of weight zero.
    """
    norms = batch_norms(model)
    before = [norm.ignoring for norm in norms]
    try:
        for norm in norms:
            norm.ignoring = True
        yield
    finally:
        for norm, ignoring in zip(norms, before, strict=True):
            norm.ignoring = ignoring


def _buffers(norms: list[GhostBatchNorm]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the running means and variances in turn, and the counts."""
    running, tracked = [], []
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        running += [norm.running_mean, norm.running_var]
        tracked.append(norm.num_batches_tracked)
    kinds = {(buffer.device, buffer.dtype) for buffer in running}
    if len(kinds) > 1:
        found = ", ".join(sorted(f"{dtype} on {device}" for device, dtype in kinds))
        raise TaskError(
            f"the model's batch-norms are {found}; they must share one dtype and one device"
        )
    return running, tracked
