"""The state of an optimizer as tensors and plain values, keyed by the names of the parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from absa.errors import CheckpointError
from absa.optim.lars import LARS
from absa.optim.lars_cpu import SCALE
from absa.state import Json

_KIND = "optimizer"
_KEYS = "entries"
_COUNTER = "step"


def optimizer_state(
    optimizer: Optimizer, model: nn.Module
) -> tuple[dict[str, Tensor], dict[str, Json]]:
    """Return what an optimizer remembers; the tensors are its own, not copies.

    Learning rates and other options are not part of it: the schedule and the job give them.

    Args:
        optimizer: Holds parameters of ``model`` alone.
        model: Gives the names; a shared parameter has its first one.

    Returns:
        Tensors such as ``conv1.weight/momentum_buffer``, and values: numbers such as
        ``conv1.weight/momentum_scale``, the kind of the optimizer, and under "entries" what each
        parameter has (one that never had a gradient has nothing), so that a gap is noticed.

    Raises:
        CheckpointError: The optimizer holds a parameter that is not the model's.
    """
    tensors: dict[str, Tensor] = {}
    values: dict[str, Json] = {}
    keys: dict[str, list[str]] = {}
    for name, param in _named(optimizer, model).items():
        state = optimizer.state.get(param, {})
        if state:
            keys[name] = sorted(state)
        for key, value in state.items():
            entries: dict[str, Any] = tensors if isinstance(value, Tensor) else values
            entries[f"{name}/{key}"] = value
    return tensors, {**values, _KIND: type(optimizer).__name__, _KEYS: keys}


@torch.no_grad()
def load_optimizer_state(
    optimizer: Optimizer,
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Json],
) -> None:
    """Replace the state of an optimizer by what `optimizer_state` returned; all of it or nothing.

    The tensors are copied, onto each parameter's device and into its memory layout.

    Args:
        optimizer: Of the same kind, over parameters of the same names and shapes.
        model: Gives the names.
        tensors: From any device.
        values: As they come back from JSON.

    Raises:
        CheckpointError: Another kind of optimizer, or an entry that is missing, unexpected, or of
            another shape or dtype; the optimizer is then unchanged.
    """
    params = _named(optimizer, model)
    kind = type(optimizer).__name__
    if values.get(_KIND) != kind:
        raise CheckpointError(
            f"the checkpoint holds the state of the optimizer {values.get(_KIND)!r}, this job uses "
            f"{kind}: resume with the optimizer that the run was started with"
        )
    keys = _keys(values, params)
    present = {**values, **tensors}
    _check_names({f"{name}/{key}" for name in keys for key in keys[name]}, present)
    states = {
        params[name]: {
            key: _restored(optimizer, params[name], f"{name}/{key}", present[f"{name}/{key}"])
            for key in keys[name]
        }
        for name in keys
    }
    optimizer.state.clear()
    optimizer.state.update(states)
    if isinstance(optimizer, LARS):
        optimizer.settle_scales()


def _named(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return the optimizer's parameters by name."""
    held = {param for group in optimizer.param_groups for param in group["params"]}
    named: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p in held}
    if len(named) != len(held):
        raise CheckpointError(
            f"the optimizer holds {len(held) - len(named)} parameters that {type(model).__name__} "
            "does not have: pass the model that the optimizer was built for"
        )
    return named


def _keys(values: Mapping[str, Json], params: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return which entries each parameter has, as the checkpoint lists them."""
    keys = values.get(_KEYS)
    lists = list(keys.values()) if isinstance(keys, dict) else [None]
    if not all(
        isinstance(entry, list) and all(isinstance(k, str) for k in entry) for entry in lists
    ):
        raise CheckpointError(
            f"the checkpoint's optimizer state must list the entries of each parameter under "
            f"{_KEYS!r}, got {keys!r}"
        )
    checked: dict[str, list[str]] = dict(keys)  # type: ignore[arg-type]
    unknown = sorted(checked.keys() - params.keys())
    if unknown:
        raise CheckpointError(
            "the checkpoint holds optimizer state of parameters that are not trained here: "
            f"{_some(unknown)}"
        )
    return checked


def _check_names(expected: set[str], present: Mapping[str, Any]) -> None:
    missing = sorted(expected - present.keys())
    if missing:
        raise CheckpointError(f"the checkpoint lacks optimizer state: {_some(missing)}")
    unexpected = sorted(present.keys() - expected - {_KIND, _KEYS})
    if unexpected:
        raise CheckpointError(
            f"the checkpoint holds optimizer state that belongs to nothing: {_some(unexpected)}"
        )


def _restored(optimizer: Optimizer, param: Tensor, name: str, value: Any) -> Any:
    """Return one entry as the optimizer keeps it: a copy beside its parameter, or a number."""
    key = name.rsplit("/", 1)[1]
    if not isinstance(value, Tensor):
        if key == SCALE and not (isinstance(value, int | float) and math.isfinite(value)):
            raise CheckpointError(f"{name} must be a finite number, got {value!r}")
        return value
    if key == _COUNTER:
        if value.ndim != 0:
            raise CheckpointError(f"{name} must be a scalar, got shape {[*value.shape]}")
        return value.to(_counter_device(optimizer, param), copy=True)
    if value.shape != param.shape or value.dtype != param.dtype:
        raise CheckpointError(
            f"{name} is {value.dtype} of shape {[*value.shape]} in the checkpoint, its parameter "
            f"is {param.dtype} of shape {[*param.shape]}: resume with the model and precision that "
            "the run was started with"
        )
    return torch.empty_like(param, requires_grad=False).copy_(value)


def _counter_device(optimizer: Optimizer, param: Tensor) -> torch.device:
    """Return where PyTorch's Adam counts its steps: with fused kernels beside the parameter."""
    group = next(g for g in optimizer.param_groups if any(p is param for p in g["params"]))
    beside = group.get("fused") or group.get("capturable")
    return param.device if beside else torch.device("cpu")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
