"""A run's weights as a plain safetensors file that loads without absa."""

from pathlib import Path

from absa.checkpoint import load_checkpoint
from absa.errors import CheckpointError, ConfigError
from absa.retention import choose
from absa.run_folder import RunFolder, open_run
from absa.storage import LocalStorage
from absa.tensor_file import tensor_chunks

WEIGHTS_FILE = "weights.safetensors"
_PREFIX = "model/"


def export_weights(
    run: str, output: Path | None = None, *, storage: str = "runs", checkpoint: str = "newest"
) -> Path:
    """Write the model's ``state_dict`` for ``model.load_state_dict(load_file(path))``.

    Args:
        run: As `open_run` takes it.
        output: A file, or an existing folder for a ``weights.safetensors``. Default: in the run
            folder, or in the current one when the run lies in an object store.
        storage: Where runs are looked for by name.
        checkpoint: ``newest``, ``best`` or a checkpoint's name.

    Returns:
        The file written; one that was there is replaced.

    Raises:
        CheckpointError: There is no such run or checkpoint, it is damaged, or a tensor's dtype is
            not in the safetensors format.
        ConfigError: The output cannot be written.
    """
    found = open_run(run, storage)
    name = choose(found.checkpoints, checkpoint)
    tree, _, _ = load_checkpoint(found.checkpoints, name)
    weights = {
        key.removeprefix(_PREFIX): tensor
        for key, tensor in tree.tensors.items()
        if key.startswith(_PREFIX)
    }
    if not weights:
        raise CheckpointError(f"checkpoint {name} of {found.location} holds no weights")
    path = _target(found, output)
    metadata = {"format": "pt", "run": found.name, "checkpoint": name}
    LocalStorage(path.parent).write(path.name, tensor_chunks(weights, metadata))
    return path


def _target(run: RunFolder, output: Path | None) -> Path:
    if output is None:
        local = isinstance(run.storage, LocalStorage)
        path = Path(run.location) if local else Path.cwd()
        return path / WEIGHTS_FILE
    path = output.expanduser().absolute()
    if path.is_dir():
        return path / WEIGHTS_FILE
    if not path.parent.is_dir():
        raise ConfigError(f"output: the folder {path.parent} does not exist; create it first")
    return path
