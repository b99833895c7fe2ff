"""Judge the model on the evaluation data, shared out over the ranks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from absa.collective import Collective
from absa.errors import TaskError
from absa.task import Source, Task
from absa.update.replica import to_device


def evaluate(
    task: Task,
    model: nn.Module,
    source: Source,
    names: Sequence[str],
    batch: int,
    collective: Collective,
) -> dict[str, float]:
    """Return the task's metrics over the whole of ``source``, the same on every rank.

    Args:
        task: Its ``metrics`` are sums; each is divided by the sum of ``count``.
        model: In evaluation mode for the time being; otherwise left as it is.
        source: The evaluation data; each sample is used once.
        names: The metrics, ``count`` not among them, in one order on every rank.
        batch: Samples that go through the model at once.
        collective: The ranks.

    Raises:
        TaskError: The metrics have other names than before or are no single numbers, or nothing
            was counted.
    """
    first, last = _share(len(source), collective)
    device = next(model.parameters()).device
    # In float32 a sum of losses over a large set would lose digits.
    totals = torch.zeros(len(names) + 1, dtype=torch.float64, device=device)
    with torch.no_grad(), _evaluating(model):
        for start in range(first, last, batch):
            indices = np.arange(start, min(start + batch, last), dtype=np.int64)
            data = source.transform(to_device(source.fetch(indices, None), device))
            totals += _sums(task.metrics(model, data), names, totals)
    collective.start_sum(totals).wait()
    *sums, count = totals.tolist()
    if count == 0:
        raise TaskError("task.metrics counted no sample over the whole evaluation data")
    return {name: value / count for name, value in zip(names, sums, strict=True)}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and each module back into the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


def _share(length: int, collective: Collective) -> tuple[int, int]:
    rank, ranks = collective.rank, collective.world_size
    return length * rank // ranks, length * (rank + 1) // ranks


def _sums(
    metrics: Mapping[str, Tensor], names: Sequence[str], like: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    if set(metrics) != {*names, "count"}:
        raise TaskError(
            f"task.metrics returned {sorted(metrics)}, but {sorted([*names, 'count'])} before; "
            "it must return the same names for every batch"
        )
    values = [torch.as_tensor(metrics[name]) for name in (*names, "count")]
    for name, value in zip((*names, "count"), values, strict=True):
        if value.numel() != 1:
            raise TaskError(
                f"task.metrics returned a tensor of shape {tuple(value.shape)} under {name!r}; it "
                "must be one number, the sum over the batch"
            )
    return torch.stack([value.to(like).view(()) for value in values])
