"""The state of an optimizer as tensors and plain values, keyed by the names of the parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from absa.errors import CheckpointError
from absa.optim.lars import LARS
from absa.optim.lars_cpu import SCALE
from absa.optim.layout import in_layout_of
from absa.state import Json

_KIND = "optimizer"
_KEYS = "entries"
_COUNTER = "step"


class HasForm(Protocol):
    """A tensor, or what one will look like."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the elements."""
        ...

    @property
    def shape(self) -> Sequence[int]:
        """The dimensions."""
        ...


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
    params = _checked(optimizer, model, tensors, values)
    copies = {
        name: _new(optimizer, params[name], name, tensor).copy_(tensor)
        for name, tensor in tensors.items()
    }
    _install(optimizer, params, {**values, **copies})


@torch.no_grad()
def adopt_optimizer_state(
    optimizer: Optimizer,
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Json],
) -> None:
    """Do as `load_optimizer_state`, but keep each tensor itself that lies where it must.

    Args:
        optimizer: Of the same kind, over parameters of the same names and shapes.
        model: Gives the names.
        tensors: Nobody else's from now on, such as those of `optimizer_room`.
        values: What comes beside them.

    Raises:
        CheckpointError: As for `load_optimizer_state`; the optimizer is then unchanged.
    """
    params = _checked(optimizer, model, tensors, values)
    kept = {
        name: tensor
        if _lies_well(optimizer, params[name], name, tensor)
        else _new(optimizer, params[name], name, tensor).copy_(tensor)
        for name, tensor in tensors.items()
    }
    _install(optimizer, params, {**values, **kept})


def optimizer_room(
    optimizer: Optimizer,
    model: nn.Module,
    forms: Mapping[str, HasForm],
    values: Mapping[str, Json],
) -> dict[str, Tensor]:
    """Return tensors that can receive an optimizer's state: its own where it has them, or new ones.

    Args:
        optimizer: Of the same kind, over parameters of the same names and shapes.
        model: Gives the names.
        forms: Of the tensors that are to come.
        values: What comes beside them.

    Raises:
        CheckpointError: `load_optimizer_state` would refuse such a state.
    """
    params = _checked(optimizer, model, forms, values)
    room = {}
    for name, form in forms.items():
        own = optimizer.state.get(params[name], {}).get(_key_of(name))
        usable = (
            isinstance(own, Tensor)
            and (own.dtype, own.shape) == (form.dtype, torch.Size(form.shape))
            and _lies_well(optimizer, params[name], name, own)
        )
        room[name] = own if usable else _new(optimizer, params[name], name, form)
    return room


def _checked(
    optimizer: Optimizer,
    model: nn.Module,
    forms: Mapping[str, HasForm],
    values: Mapping[str, Json],
) -> dict[str, Tensor]:
    """Return the parameter of each entry, or raise: the state is not this optimizer's."""
    named = _named(optimizer, model)
    kind = type(optimizer).__name__
    if values.get(_KIND) != kind:
        raise CheckpointError(
            f"the checkpoint holds the state of the optimizer {values.get(_KIND)!r}, this job uses "
            f"{kind}: resume with the optimizer that the run was started with"
        )
    keys = _keys(values, named)
    params = {f"{name}/{key}": named[name] for name in keys for key in keys[name]}
    _check_names(set(params), {**values, **forms})
    for name, param in params.items():
        if name in forms:
            _check_form(param, name, forms[name])
        elif _key_of(name) == SCALE:
            _check_scale(name, values[name])
    return params


def _install(
    optimizer: Optimizer, params: Mapping[str, Tensor], present: Mapping[str, Any]
) -> None:
    states: dict[Tensor, dict[str, Any]] = {}
    for name, param in params.items():
        states.setdefault(param, {})[_key_of(name)] = present[name]
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


def _check_form(param: Tensor, name: str, form: HasForm) -> None:
    shape = [*form.shape]
    if _key_of(name) == _COUNTER:
        if shape:
            raise CheckpointError(f"{name} must be a scalar, got shape {shape}")
    elif shape != [*param.shape] or form.dtype != param.dtype:
        raise CheckpointError(
            f"{name} is {form.dtype} of shape {shape} in the checkpoint, its parameter "
            f"is {param.dtype} of shape {[*param.shape]}: resume with the model and precision that "
            "the run was started with"
        )


def _check_scale(name: str, value: Json) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value)):
        raise CheckpointError(f"{name} must be a finite number, got {value!r}")


def _lies_well(optimizer: Optimizer, param: Tensor, name: str, tensor: Tensor) -> bool:
    """Return whether a tensor lies on the device and in the layout that the optimizer wants."""
    if _key_of(name) == _COUNTER:
        return tensor.device == _counter_device(optimizer, param)
    return tensor.device == param.device and in_layout_of(tensor, param) is tensor


def _new(optimizer: Optimizer, param: Tensor, name: str, form: HasForm) -> Tensor:
    """Return a tensor for an entry, as the optimizer would have made it."""
    if _key_of(name) == _COUNTER:
        return torch.empty((), dtype=form.dtype, device=_counter_device(optimizer, param))
    return torch.empty_like(param, requires_grad=False)


def _key_of(name: str) -> str:
    return name.rsplit("/", 1)[1]


def _counter_device(optimizer: Optimizer, param: Tensor) -> torch.device:
    """Return where PyTorch's Adam counts its steps: with fused kernels beside the parameter."""
    group = next(g for g in optimizer.param_groups if any(p is param for p in g["params"]))
    beside = group.get("fused") or group.get("capturable")
    return param.device if beside else torch.device("cpu")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
