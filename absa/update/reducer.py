"""Sums gradients over ranks in fixed buckets while backward still runs.

`DistributedDataParallel` rebuilds its buckets after the first iteration and must be rebuilt at each
resize (0.07-0.12 s at 11 M parameters); this reducer takes the group anew at every update and keeps
nothing of it, and an update's scalars ride at the end of the last bucket: a collective of their own
costs a small network 25-45 % of its speed.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from absa.collective import Collective, Pending
from absa.errors import TaskError
from absa.optim.layout import is_dense

BUCKET_BYTES = 8 << 20
"""Small enough that a bucket is on its way while backward goes on, large enough for the link."""


class _Bucket:
    """Consecutive parameters whose gradients travel as one message."""

    def __init__(self, parameters: list[nn.Parameter], message: Tensor) -> None:
        self.parameters = parameters
        self.message = message
        sizes = [parameter.numel() for parameter in parameters]
        pieces = message[: sum(sizes)].split(sizes)
        self.gradients = [
            _shaped(piece, parameter) for piece, parameter in zip(pieces, parameters, strict=True)
        ]
        self.missing = len(parameters)

    def pack(self) -> None:
        """Copy the gradients into the message; a parameter without one sends zeros."""
        places, found = [], []
        for place, parameter in zip(self.gradients, self.parameters, strict=True):
            if parameter.grad is None:
                place.zero_()
                continue
            places.append(place)
            found.append(dense(parameter.grad))
        if places:
            torch._foreach_copy_(places, found)

    def unpack(self) -> None:
        """Let every ``.grad`` be its part of the summed message."""
        for gradient, parameter in zip(self.gradients, self.parameters, strict=True):
            parameter.grad = gradient.to(parameter.dtype)


class GradientReducer:
    """Sums the gradients of one model, and a few scalars with them, over the ranks of a group.

    One update is ``arm`` before a rank's last backward pass (a rank without samples needs none),
    then ``finish``. Between updates nothing refers to a group.

    Args:
        parameters: The trainable parameters, in the same order on every rank.
        num_scalars: How many scalars ride along.
        dtype: Of the messages; it must hold every gradient.
        bucket_bytes: Most bytes in one message; a larger parameter is a message of its own.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        num_scalars: int,
        dtype: torch.dtype,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        # Backward reaches the last parameters first, so their bucket leaves first.
        backward_order = list(reversed(parameters))
        limit = max(bucket_bytes // dtype.itemsize, 1)
        groups = _split(backward_order, limit)
        lengths = [sum(p.numel() for p in group) for group in groups]
        self._flat = torch.zeros(
            sum(lengths) + num_scalars, dtype=dtype, device=backward_order[0].device
        )
        self._scalars = self._flat[sum(lengths) :]
        messages = self._flat.split([*lengths[:-1], lengths[-1] + num_scalars])
        self._buckets = [_Bucket(g, m) for g, m in zip(groups, messages, strict=True)]
        self._collective: Collective | None = None
        self._pending: list[Pending] = []
        # The last bucket leaves from `finish`, with the scalars: no hook needs to watch it.
        self._hooks = [
            parameter.register_post_accumulate_grad_hook(self._hook(bucket))
            for bucket in self._buckets[:-1]
            for parameter in bucket.parameters
        ]

    def arm(self, collective: Collective) -> None:
        """Send each bucket as soon as the coming backward pass has filled it."""
        self._collective = collective
        for bucket in self._buckets:
            bucket.missing = len(bucket.parameters)

    def finish(self, collective: Collective, scalars: Tensor) -> None:
        """Send what is left, wait for all sums, and hand the summed gradients to the parameters.

        Args:
            collective: The group that ``arm`` was given.
            scalars: Replaced by their sums over the ranks.
        """
        self._collective = None
        self._scalars.copy_(scalars)
        for bucket in self._buckets[len(self._pending) :]:
            self._send(bucket, collective)
        for pending in self._pending:
            pending.wait()
        self._pending.clear()
        for bucket in self._buckets:
            bucket.unpack()
        scalars.copy_(self._scalars)

    def close(self) -> None:
        """Take the hooks off the parameters."""
        for hook in self._hooks:
            hook.remove()

    def _send(self, bucket: _Bucket, collective: Collective) -> None:
        bucket.pack()
        self._pending.append(collective.start_sum(bucket.message))

    def _hook(self, bucket: _Bucket) -> Callable[[Tensor], None]:
        def on_gradient(_: Tensor) -> None:
            if self._collective is None:
                return
            bucket.missing -= 1
            if bucket.missing < 0:
                raise TaskError(
                    "a parameter received its gradient twice in one backward pass, so it would be "
                    "summed over the ranks before it is complete; use non-reentrant activation "
                    "checkpointing (use_reentrant=False)"
                )
            # Messages must leave in one order on all ranks, whatever order backward fills them in.
            while len(self._pending) < len(self._buckets) - 1:
                first = self._buckets[len(self._pending)]
                if first.missing > 0:
                    break
                self._send(first, self._collective)

        return on_gradient


def dense(gradient: Tensor) -> Tensor:
    """Return ``gradient``.

    Raises:
        TaskError: It is sparse.
    """
    if gradient.layout != torch.strided:
        raise TaskError(
            f"a parameter of shape {tuple(gradient.shape)} has a gradient of layout "
            f"{gradient.layout}; only dense gradients can be trained: build the embedding with "
            "sparse=False"
        )
    return gradient


def _split(parameters: list[nn.Parameter], limit: int) -> list[list[nn.Parameter]]:
    """Cut into runs of at most ``limit`` elements; a larger parameter is a run of its own."""
    groups: list[list[nn.Parameter]] = [[]]
    length = 0
    for parameter in parameters:
        if groups[-1] and length + parameter.numel() > limit:
            groups.append([])
            length = 0
        groups[-1].append(parameter)
        length += parameter.numel()
    return groups


def _shaped(piece: Tensor, parameter: nn.Parameter) -> Tensor:
    """View a flat piece with the parameter's shape and, where it is dense, its memory layout."""
    if is_dense(parameter):
        return piece.as_strided(parameter.size(), parameter.stride(), piece.storage_offset())
    return piece.view_as(parameter)
