"""``absa new``: a job and a task of one's own that run as they are."""

import importlib.util
import keyword
from importlib import resources
from pathlib import Path

from absa.errors import ConfigError

FILES = {"job.yaml": "job.template", "task.py": "task.template"}
"""What is written, and from which template; ``NAME`` in a template becomes the folder's name."""


def write_starter(parent: Path, name: str) -> Path:
    """Write a folder with a job file and a task.

    Args:
        parent: Where the folder is made; `absa train` must run there to find the task.
        name: Of the folder, which is also the task's Python package.

    Returns:
        The folder.

    Raises:
        ConfigError: The name is no identifier or taken by an importable package, or the folder
            exists or cannot be made.
    """
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        raise ConfigError(
            f"NAME: {name!r} cannot be imported by Python; use letters, digits and '_', not "
            "beginning with a digit"
        )
    folder = parent / name
    if folder.exists() or folder.is_symlink():
        raise ConfigError(
            f"NAME: {folder} exists already and is left as it is; choose another name"
        )
    if importlib.util.find_spec(name) is not None:
        raise ConfigError(
            f"NAME: {name!r} is the name of an installed Python package, which would be imported "
            "instead of yours; choose another name"
        )
    try:
        folder.mkdir()
        for file, template in FILES.items():
            text = resources.files(__package__).joinpath(template).read_text("utf-8")
            (folder / file).write_text(text.replace("NAME", name), "utf-8")
    except OSError as error:
        raise ConfigError(f"NAME: {folder} cannot be written: {error.strerror}") from error
    return folder
