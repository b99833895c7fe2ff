"""Checks that a task keeps its contract, on one batch, before anything is trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from absa.adversary.inputs import checked_inputs, perturbable
from absa.errors import TaskError
from absa.task import Batch, Task


def check_task(task: Task, model: nn.Module, batch: Batch) -> tuple[str, ...]:
    """Call the task's functions once on a batch and check what they return.

    The model is left as it was: it runs in evaluation mode, and torch's random state on the host is
    put back.

    Args:
        task: What was loaded.
        model: From ``task.build_model()``.
        batch: Fetched and transformed, on the model's device; at least one sample.

    Returns:
        The names of the metrics, sorted and without ``count``.

    Raises:
        TaskError: The model has nothing to train, the losses are not one finite number per
            sample that depends on the model, the metrics are no finite sums with a count, or what
            can be perturbed is not one row per sample.
        ConfigError: ``adversarial_inputs`` is no method.
    """
    if not isinstance(model, nn.Module):
        raise TaskError(
            f"task.build_model returned a {type(model).__name__}; it must be a torch.nn.Module"
        )
    if not any(p.requires_grad and p.numel() for p in model.parameters()):
        raise TaskError(
            f"task.build_model returned a {type(model).__name__} without trainable parameters; "
            "at least one must have requires_grad"
        )
    num_samples = _num_samples(batch)
    with _undisturbed(model):
        with torch.enable_grad():
            losses = task.losses(model, batch)
        _check_losses(losses, num_samples)
        with torch.no_grad():
            metrics = task.metrics(model, batch)
        _check_metrics(metrics)
    weights = getattr(task, "weights", None)
    if weights is not None:
        _check_weights(weights(batch), num_samples)
    if hasattr(task, "adversarial_inputs"):
        checked_inputs(perturbable(task), batch, num_samples)
    return tuple(sorted(set(metrics) - {"count"}))


def _check_losses(losses: object, num_samples: int) -> None:
    wanted = (
        f"it must return one finite number per sample, a floating tensor of shape ({num_samples},)"
    )
    values = _floating(losses, "task.losses", num_samples, wanted)
    if not values.requires_grad:
        raise TaskError(
            "task.losses returned a tensor that does not depend on the model's parameters: no "
            "gradient can flow; it must not detach or run under torch.no_grad"
        )
    finite = torch.isfinite(values.detach())
    if not finite.all():
        raise TaskError(
            f"task.losses returned {int((~finite).sum())} of {num_samples} losses that are not "
            f"finite, the first for sample {int((~finite).nonzero()[0])} of the batch; {wanted}"
        )


def _check_weights(weights: object, num_samples: int) -> None:
    wanted = f"it must return one weight per sample, a floating tensor of shape ({num_samples},)"
    values = _floating(weights, "task.weights", num_samples, wanted)
    if not bool(((values >= 0) & torch.isfinite(values)).all()) or not bool(values.sum() > 0):
        raise TaskError(
            f"task.weights returned values from {float(values.min())} to {float(values.max())}; "
            "they must be finite, not negative, and not all zero"
        )


def _floating(value: object, what: str, num_samples: int, wanted: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise TaskError(f"{what} returned a {type(value).__name__}; {wanted}")
    if value.shape != (num_samples,) or not value.is_floating_point():
        advice = ", not a mean or sum over them" if value.ndim == 0 else ""
        raise TaskError(
            f"{what} returned {value.dtype} of shape {tuple(value.shape)} for {num_samples} "
            f"samples; {wanted}{advice}"
        )
    return value


def _check_metrics(metrics: object) -> None:
    if not isinstance(metrics, Mapping):
        raise TaskError(
            f"task.metrics returned a {type(metrics).__name__}; it must be a mapping of names to "
            'sums over the batch, with what they are divided by under "count"'
        )
    if "count" not in metrics:
        raise TaskError(
            f'task.metrics returned {sorted(map(str, metrics))} without "count", by which the sums '
            "are divided: the number of samples in the batch, or their weight"
        )
    for name, value in metrics.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise TaskError(
                f"task.metrics returned {got} under {name!r}; it must be a tensor with one number, "
                "the sum over the batch"
            )
        if not bool(torch.isfinite(value)):
            raise TaskError(f"task.metrics returned {float(value)} under {name!r}; not finite")
    if float(metrics["count"]) <= 0:
        raise TaskError(f'task.metrics returned "count" {float(metrics["count"])}; it must be > 0')


def _num_samples(batch: Batch) -> int:
    lengths = {len(t) if t.ndim else None for t in _tensors(batch)}
    if len(lengths) != 1 or None in lengths:
        found = sorted(str(tuple(t.shape)) for t in _tensors(batch))
        raise TaskError(
            f"a batch holds tensors of shapes {', '.join(found) or '(none)'}; the first dimension "
            "of each must be the samples"
        )
    return next(n for n in lengths if n is not None)


def _tensors(batch: Batch) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, (list, tuple)):
        for value in batch:
            yield from _tensors(value)


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and it and the random state back afterwards."""
    modes = {module: module.training for module in model.modules()}
    with torch.random.fork_rng(devices=[]):
        try:
            model.eval()
            yield
        finally:
            for module, training in modes.items():
                module.training = training
