"""The loss whose curvature is measured: fixed samples, a model that is loaded per point."""

import torch
from torch import Tensor, nn

from absa.curvature.probe import choose_samples
from absa.curvature.problem import Problem
from absa.task import Task

AT_ONCE = 128
"""Samples that go through the model together; the peers, which keep the graph of all at once, are
compared on no more. That of 512 of resnet18 would not fit into this machine's memory."""


def problem(task: Task, model: nn.Module, num: int, draw: int = 0) -> Problem:
    """Return the mean loss of so many training samples, not augmented.

    Args:
        task: Model, data, loss.
        model: In evaluation mode, so that every library sees the same function.
        num: How many samples.
        draw: Which choice of them; 0 is that of a run with seed 0.
    """
    source = task.datasets().train
    indices = choose_samples(draw, len(source), num)
    parts = [indices[i : i + AT_ONCE] for i in range(0, num, AT_ONCE)]
    passes = [source.transform(source.fetch(part, None)) for part in parts]
    return Problem(model.eval(), task.losses, passes)


def gradient(of: Problem) -> list[Tensor]:
    """Take one plain gradient of the mean loss: what every cost is counted in."""
    parameters = list(of.model.parameters())
    total = [torch.zeros_like(parameter) for parameter in parameters]
    num = sum(len(batch["label"]) for batch in of.passes)
    for batch in of.passes:
        part = torch.autograd.grad(of.losses(of.model, batch).sum() / num, parameters)
        torch._foreach_add_(total, part)
    return total
