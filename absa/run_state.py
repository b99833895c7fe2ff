"""The state tree of a run: gathered for a checkpoint, restored from one, bit for bit."""

from dataclasses import asdict, dataclass

import torch

from absa.errors import CheckpointError
from absa.optim.checkpoint import load_optimizer_state, optimizer_state
from absa.progress import Progress
from absa.settings import Settings
from absa.state import StateTree
from absa.update.replica import Replica


@dataclass(frozen=True)
class RunState:
    """What evolves beside the tensors of the replica."""

    progress: Progress
    settings: Settings


def gather(replica: Replica, state: RunState) -> StateTree:
    """Return everything that evolves; its tensors are the live ones, not copies."""
    moments, scalars = optimizer_state(replica.optimizer, replica.model)
    tensors = {f"model/{name}": t for name, t in replica.model.state_dict().items()}
    tensors |= {f"optimizer/{name}": t for name, t in moments.items()}
    values = {
        "optimizer": scalars,
        "progress": asdict(state.progress),
        "settings": asdict(state.settings),
    }
    return StateTree(tensors, values)


def restore(replica: Replica, tree: StateTree) -> RunState:
    """Put ``tree`` into the replica and return the rest.

    Raises:
        CheckpointError: The tree belongs to another model or optimizer.
    """
    _load_model(replica.model, _under("model/", tree))
    scalars = tree.values.get("optimizer", {})
    load_optimizer_state(replica.optimizer, replica.model, _under("optimizer/", tree), scalars)
    try:
        return RunState(Progress(**tree.values["progress"]), Settings(**tree.values["settings"]))
    except (TypeError, KeyError) as error:
        raise CheckpointError(
            f"the checkpoint was written by another version of absa: {error}; resume with that one"
        ) from error


def _under(prefix: str, tree: StateTree) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tree.tensors.items()
        if name.startswith(prefix)
    }


def _load_model(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    expected = {name: _form(tensor) for name, tensor in model.state_dict().items()}
    found = {name: _form(tensor) for name, tensor in tensors.items()}
    if expected != found:
        wrong = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        raise CheckpointError(
            f"the checkpoint belongs to another model: {len(wrong)} tensors differ, first "
            f"{wrong[0]!r}: {found.get(wrong[0], 'missing')} in the checkpoint, "
            f"{expected.get(wrong[0], 'missing')} in the job's model; "
            "resume with the job that wrote it"
        )
    model.load_state_dict(tensors)


def _form(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}"
