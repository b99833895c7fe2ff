"""Judge the model on the evaluation data, shared out over the ranks."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from absa.collective import Collective
from absa.errors import TaskError
from absa.task import Source, Task
from absa.update.replica import to_device


def evaluate(
    task: Task,
    model: torch.nn.Module,
    source: Source,
    names: Sequence[str],
    batch: int,
    collective: Collective,
) -> dict[str, float]:
    """Return the task's metrics over the whole of ``source``, the same on every rank.

    Args:
        task: Its ``metrics`` are sums; each is divided by the sum of ``count``.
        model: Put into evaluation mode for the time being.
        source: The evaluation data; each sample is used once.
        names: The metrics, ``count`` not among them, in one order on every rank.
        batch: Samples that go through the model at once.
        collective: The ranks.
    """
    first, last = _share(len(source), collective)
    device = next(model.parameters()).device
    # float64 where it exists: a sum of losses over a large set would lose digits in float32.
    totals = torch.zeros(len(names) + 1, dtype=torch.float64, device=device)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for start in range(first, last, batch):
                indices = np.arange(start, min(start + batch, last), dtype=np.int64)
                data = source.transform(to_device(source.fetch(indices, None), device))
                totals += _sums(task.metrics(model, data), names, totals)
    finally:
        model.train(training)
    collective.start_sum(totals).wait()
    values = totals.tolist()
    if values[-1] == 0:
        raise TaskError("task.metrics counted no sample over the whole evaluation data")
    return {name: value / values[-1] for name, value in zip(names, values[:-1], strict=True)}


def _share(length: int, collective: Collective) -> tuple[int, int]:
    rank, ranks = collective.rank, collective.world_size
    return length * rank // ranks, length * (rank + 1) // ranks


def _sums(metrics: Mapping[str, Tensor], names: Sequence[str], like: Tensor) -> Tensor:
    if set(metrics) != {*names, "count"}:
        raise TaskError(
            f"task.metrics returned {sorted(metrics)}, but {sorted([*names, 'count'])} before; "
            "it must return the same names for every batch"
        )
    return torch.stack([torch.as_tensor(metrics[n]).to(like) for n in [*names, "count"]])
