"""Batch normalisation whose statistics are taken over a fixed number of samples."""

from operator import index
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from absa.errors import ConfigError, TaskError


class PendingGroups:
    """What the groups of an unfinished update have contributed to one module's running statistics.

    There are two stores, and what is pending is both of them. The average is kept by the kernel
    itself at no cost, with its count in Python. A graph that is recorded once and replayed
    (``torch.compile``, CUDA graphs) would freeze that count, so it adds to sums and counts there.

    Args:
        average: Average over groups of their mean (row 0) and unbiased variance (row 1).
        sums: The same for other groups, summed.
        count: Number of groups in ``sums``. All three are zero at first.
    """

    def __init__(
        self, average: Float[Tensor, "2 c"], sums: Float[Tensor, "2 c"], count: Float[Tensor, ""]
    ) -> None:
        self.average = average
        self.mean, self.var = average.unbind()
        self.num_groups = 0
        self.sums, self.count = sums, count

    def add(self, average: Float[Tensor, "2 c"], num_groups: int) -> None:
        """Count ``num_groups`` groups with this average."""
        if _recording(average):
            self.sums.add_(average, alpha=num_groups)
            self.count.add_(num_groups)
        else:
            self.num_groups += num_groups
            self.average.lerp_(average, num_groups / self.num_groups)


class GhostBatchNorm(_BatchNorm):
    """Batch-norm over groups of ``group`` samples, whatever the number of samples in a pass.

    The group is part of the loss's definition, the pass (micro-batch) is not: as long as the same
    samples share a group, any cut of them into passes gives the same loss, gradients and running
    statistics.

    In training a pass of N rows holds G = ceil(N / group) groups of equal size, interleaved: row r
    belongs to group r % G. So ``x.view(N / G, G * C, ...)`` puts each group's channels side by side
    and one ordinary batch-norm over G * C channels does them all. In channels-last memory that view
    is a copy. In evaluation it is plain batch-norm.

    Running statistics: G groups that are committed together move them by 1 - (1 - momentum)^G
    towards the average over those groups. That remembers as many groups as G updates of plain
    batch-norm do, so the running statistics do not lag when the batch grows, but does not depend on
    the order of the groups. For G = 1 it is plain batch-norm. ``momentum=None`` averages over all
    groups ever seen. ``num_batches_tracked`` counts groups.

    Each training pass commits its own groups, until `RunningStatistics` gathers those of an update.

    A group with one value per channel (one sample without spatial extent) has no variance: it is
    normalised by the running statistics and not counted, where plain batch-norm raises.

    The parameters and buffers are those of ``nn.BatchNorm1d/2d/3d``, names included.

    Args:
        num_features: Channels C of inputs (N, C) or (N, C, ...).
        group: Samples that share statistics, > 0.
        eps: Added to the variance.
        momentum: Weight of one new group in the running statistics, in [0, 1], or None.
        affine: Whether to learn a scale and a shift per channel.
        track_running_stats: Whether to keep running statistics; without them evaluation takes the
            statistics of its whole pass, as plain batch-norm does.
        plain: The class that `revert_batch_norm` turns the module into.

    Raises:
        ConfigError: ``group`` is not positive.

    Source: Hoffer et al. 2017, arXiv:1705.08741, section 4 (the groups); the rule for the running
        statistics is our own: their algorithm 1 goes through the groups one by one.
    """

    group: int
    plain: type[_BatchNorm]
    pending: PendingGroups | None = None
    """Where an update's statistics gather; None: each pass commits its own."""
    ignoring: bool = False
    """Whether training passes leave the running statistics alone."""

    def __init__(
        self,
        num_features: int,
        group: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        plain: type[_BatchNorm] = nn.BatchNorm2d,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.group = checked_group(group)
        self.plain = plain

    def forward(self, input: Float[Tensor, "n c *space"]) -> Float[Tensor, "n c *space"]:  # noqa: A002
        """Normalise ``input``.

        Raises:
            TaskError: The rows of a training pass do not split into equal groups.
        """
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        # As an index torch.compile makes it a constant of the graph. As a symbol, a second number
        # of rows took it 16 s to 400 s (torch 2.13): the number of groups was then a symbol too.
        rows = index(input.shape[0])
        num_groups = -(-rows // self.group) or 1
        if rows % num_groups:
            raise TaskError(
                f"batch-norm over groups of {self.group}: {rows} samples in one pass do not split "
                f"into {num_groups} equal groups. Make the micro-batch a multiple of bn_group, or "
                "bn_group a multiple of the micro-batch."
            )
        if self.running_mean is not None and input.numel() <= num_groups * self.num_features:
            return self._normalise(input, self.running_mean, self.running_var, training=False)
        if num_groups > 1:
            return self._forward_groups(input, num_groups)
        if self.running_mean is None or self.ignoring:
            return self._normalise(input, None, None)
        if self.pending is None:
            return super().forward(input)
        if _recording(input):
            return self._forward_groups(input, 1)
        # The kernel updates this average on its way, so a single group costs what plain
        # batch-norm costs.
        pending = self.pending
        pending.num_groups += 1
        return self._normalise(input, pending.mean, pending.var, momentum=1.0 / pending.num_groups)

    def _normalise(
        self,
        x: Float[Tensor, "n c *space"],
        mean: Float[Tensor, " c"] | None,
        var: Float[Tensor, " c"] | None,
        *,
        training: bool = True,
        momentum: float = 0.0,
    ) -> Float[Tensor, "n c *space"]:
        return F.batch_norm(x, mean, var, self.weight, self.bias, training, momentum, self.eps)

    def _forward_groups(
        self, x: Float[Tensor, "n c *space"], num_groups: int
    ) -> Float[Tensor, "n c *space"]:
        weight = None if self.weight is None else self.weight.repeat(num_groups)
        bias = None if self.bias is None else self.bias.repeat(num_groups)
        # With momentum 1 the kernel leaves each group's mean and unbiased variance in here.
        # Zero and not empty: it multiplies what was there by 0, and 0 * nan is nan.
        found: Tensor | None = None
        if self.running_mean is not None and not self.ignoring:
            found = self.running_mean.new_zeros(2, num_groups * self.num_features)
        mean, var = (None, None) if found is None else found.unbind()
        wide = F.batch_norm(
            _side_by_side(x, num_groups), mean, var, weight, bias, True, 1.0, self.eps
        )
        if found is not None:
            self._count(torch.unflatten(found, 1, (num_groups, -1)).mean(1), num_groups)
        return _stacked(wide, num_groups)

    def _count(self, average: Float[Tensor, "2 c"], num_groups: int) -> None:
        if self.pending is not None:
            self.pending.add(average, num_groups)
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(num_groups)
        if self.momentum is None:
            weight = num_groups / float(self.num_batches_tracked)
        else:
            weight = 1 - (1 - self.momentum) ** num_groups
        self.running_mean.lerp_(average[0], weight)
        self.running_var.lerp_(average[1], weight)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        if input.dim() < 2 or input.shape[1] != self.num_features:
            raise TaskError(
                f"batch-norm of {self.num_features} channels got an input of shape "
                f"{tuple(input.shape)}; it takes (N, {self.num_features}, ...)"
            )

    def extra_repr(self) -> str:
        """Return the arguments for ``print(model)``."""
        return f"{self.num_features}, group={self.group}, eps={self.eps}, momentum={self.momentum}"

    def __getstate__(self) -> dict[str, Any]:
        # A copy is not part of the update that the original gathers for.
        return {k: v for k, v in self.__dict__.items() if k not in ("pending", "ignoring")}


def batch_norms(model: nn.Module) -> list[GhostBatchNorm]:
    """Return the ghost batch-norms of ``model`` in the order of its modules, each once."""
    return [module for module in model.modules() if isinstance(module, GhostBatchNorm)]


def checked_group(group: int) -> int:
    """Return ``group``; raise a `ConfigError` unless it is positive."""
    if group < 1:
        raise ConfigError(
            f"bn_group: {group} samples; batch-norm needs groups of at least 1 sample"
        )
    return group


def _recording(x: Tensor) -> bool:
    """Return whether operations go into a graph that will be replayed without this code."""
    if torch.compiler.is_compiling():
        return True
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def _side_by_side(
    x: Float[Tensor, "n c *space"], num_groups: int
) -> Float[Tensor, "n_per_group groups_times_c *space"]:
    """Return the groups as channels: a view of contiguous memory, one copy of channels-last."""
    parted = torch.unflatten(x, 0, (-1, num_groups))
    if x.dim() == 2 or x.stride(1) != 1 or x.is_contiguous():
        return parted.reshape(-1, num_groups * x.shape[1], *x.shape[2:])
    # Channels stay innermost: such a copy moves whole runs of them, and what follows (the fast
    # kernels, the next convolution) finds the memory format it had. 1.4x faster than reshape on a
    # CPU.
    space = range(3, parted.dim())
    return parted.permute(0, *space, 1, 2).flatten(-2).movedim(-1, 1)


def _stacked(
    wide: Float[Tensor, "n_per_group groups_times_c *space"], num_groups: int
) -> Float[Tensor, "n c *space"]:
    """Undo `_side_by_side`, keeping the memory format."""
    parted = torch.unflatten(wide, 1, (num_groups, -1))
    if wide.dim() == 2 or wide.stride(1) != 1 or wide.is_contiguous():
        return parted.reshape(-1, *parted.shape[2:])
    return parted.movedim(2, -1).contiguous().flatten(0, 1).movedim(-1, 1)
