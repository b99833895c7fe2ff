"""The state tree of a run: gathered for a checkpoint, restored from one, bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TypeVar

import torch

from absa.errors import CheckpointError
from absa.optim.checkpoint import (
    HasForm,
    adopt_optimizer_state,
    load_optimizer_state,
    optimizer_room,
    optimizer_state,
)
from absa.policy import decided
from absa.policy.decide import PolicyState
from absa.policy.decided import Decided
from absa.progress import Progress
from absa.settings import Settings
from absa.signal_state import SignalState, as_values, from_values
from absa.state import Json, StateTree
from absa.update.replica import Replica

T = TypeVar("T")


@dataclass(frozen=True)
class RunState:
    """What evolves beside the tensors of the replica.

    Args:
        progress: How far the run has come.
        settings: In force.
        signals: What they have learnt.
        policy: What it remembers.
        decided: What it has decided that is not in force yet.
        announced: Whether all ranks know that it comes at the next boundary.
    """

    progress: Progress
    settings: Settings
    signals: SignalState = field(default_factory=SignalState)
    policy: PolicyState = field(default_factory=PolicyState)
    decided: Decided | None = None
    announced: bool = False


def gather(replica: Replica, state: RunState) -> StateTree:
    """Return everything that evolves; its tensors are the live ones, not copies."""
    moments, scalars = optimizer_state(replica.optimizer, replica.model)
    tensors = {f"model/{name}": t for name, t in replica.model.state_dict().items()}
    tensors |= {f"optimizer/{name}": t for name, t in moments.items()}
    tensors |= {f"signals/{name}": t for name, t in replica.signals.items()}
    values = {
        "optimizer": scalars,
        "progress": asdict(state.progress),
        "settings": asdict(state.settings),
        "signals": as_values(state.signals),
        "policy": asdict(state.policy),
        "decided": None if state.decided is None else decided.as_values(state.decided),
        "announced": state.announced,
    }
    return StateTree(tensors, values)


def restore(replica: Replica, tree: StateTree) -> RunState:
    """Copy ``tree`` into the replica and return the rest.

    Raises:
        CheckpointError: The tree belongs to another model or optimizer.
    """
    tensors = _under("model/", tree.tensors)
    _check_model(replica.model.state_dict(), tensors)
    replica.model.load_state_dict(tensors)
    scalars = tree.values.get("optimizer", {})
    moments = _under("optimizer/", tree.tensors)
    load_optimizer_state(replica.optimizer, replica.model, moments, scalars)
    return _with_signals(replica, tree)


def make_room(
    replica: Replica, forms: Mapping[str, HasForm], values: Mapping[str, Json]
) -> dict[str, torch.Tensor]:
    """Return the tensors of the replica that a state can be received into.

    They are its live ones; where its optimizer has no state yet, new ones, which `adopt` puts in.

    Args:
        replica: Its tensors will be overwritten.
        forms: Of the tensors that are to come.
        values: What comes beside them.

    Raises:
        CheckpointError: They belong to another model or optimizer.
    """
    live = replica.model.state_dict()
    _check_model(live, _under("model/", forms))
    scalars = values.get("optimizer", {})
    moments = optimizer_room(replica.optimizer, replica.model, _under("optimizer/", forms), scalars)
    room = {f"model/{name}": tensor for name, tensor in live.items()}
    room |= {f"optimizer/{name}": tensor for name, tensor in moments.items()}
    return room | {f"signals/{name}": tensor for name, tensor in replica.signals.items()}


def adopt(replica: Replica, tree: StateTree) -> RunState:
    """Make ``tree`` the replica's state and return the rest; tensors of `make_room` are not copied.

    Args:
        replica: Gets the tensors of the optimizer for its own.
        tree: Nobody else's.

    Raises:
        CheckpointError: The tree belongs to another model or optimizer.
    """
    tensors = _under("model/", tree.tensors)
    live = replica.model.state_dict()
    _check_model(live, tensors)
    apart = {name: t for name, t in tensors.items() if t.data_ptr() != live[name].data_ptr()}
    if apart:
        replica.model.load_state_dict(apart, strict=False)
    scalars = tree.values.get("optimizer", {})
    moments = _under("optimizer/", tree.tensors)
    adopt_optimizer_state(replica.optimizer, replica.model, moments, scalars)
    return _with_signals(replica, tree)


def beside(values: Mapping[str, Json]) -> RunState:
    """Return what the values of a tree say of what evolves beside the tensors of a replica."""
    try:
        return RunState(
            Progress(**values["progress"]),
            Settings(**values["settings"]),
            from_values(values["signals"]) if "signals" in values else SignalState(),
            PolicyState(**values.get("policy", {})),
            decided.from_values(values["decided"]) if values.get("decided") else None,
            values.get("announced", False),
        )
    except (TypeError, KeyError) as error:
        raise CheckpointError(
            f"the checkpoint was written by another version of absa: {error}; resume with that one"
        ) from error


def _with_signals(replica: Replica, tree: StateTree) -> RunState:
    """Return what evolves beside the tensors; signals that are measured otherwise begin anew."""
    state, found = beside(tree.values), _under("signals/", tree.tensors)
    if _forms(found) != _forms(replica.signals):
        return replace(state, signals=_unmeasured(state.signals))
    for name, tensor in replica.signals.items():
        if tensor.data_ptr() != found[name].data_ptr():
            tensor.copy_(found[name])
    return state


def _unmeasured(signals: SignalState) -> SignalState:
    return replace(signals, num_measurements=0, not_before=0, curvature=None, curvature_at=None)


def _under(prefix: str, parts: Mapping[str, T]) -> dict[str, T]:
    return {
        name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)
    }


def _check_model(live: Mapping[str, torch.Tensor], forms: Mapping[str, HasForm]) -> None:
    expected, found = _forms(live), _forms(forms)
    if expected != found:
        wrong = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        raise CheckpointError(
            f"the checkpoint belongs to another model: {len(wrong)} tensors differ, first "
            f"{wrong[0]!r}: {_said(found.get(wrong[0]))} in the checkpoint, "
            f"{_said(expected.get(wrong[0]))} in the job's model; "
            "resume with the job that wrote it"
        )


def _forms(tensors: Mapping[str, HasForm]) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    return {name: _form(tensor) for name, tensor in tensors.items()}


def _form(form: HasForm) -> tuple[torch.dtype, tuple[int, ...]]:
    return form.dtype, tuple(form.shape)


def _said(form: tuple[torch.dtype, tuple[int, ...]] | None) -> str:
    return "missing" if form is None else f"{form[0]} of shape {form[1]}"
