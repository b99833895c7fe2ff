"""A public layout of a data set: its files, under the names they are known by, and their reader."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from absa.data.image_set import Split

Read = Callable[[Sequence[Path]], tuple[Split, Split]]
"""Takes the layout's files in their order; returns the training and the test part."""


@dataclass(frozen=True)
class Layout:
    """Files in one folder.

    Args:
        files: For each file the names it may have.
        read: Reads the set from the files, in that order.
    """

    files: tuple[tuple[str, ...], ...]
    read: Read

    def find(self, folder: Path) -> list[Path | None]:
        """Return the path of each file in ``folder``, None where it is missing or out of reach."""
        return [
            next((folder / name for name in names if os.path.isfile(folder / name)), None)
            for names in self.files
        ]

    @property
    def expected(self) -> str:
        """Return the files' first names, for messages."""
        return ", ".join(names[0] for names in self.files)
