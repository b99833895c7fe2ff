"""How many workers are asked for: a file that the workers write and the policy reads."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_NAME = "wish.json"


@dataclass(frozen=True)
class Wish:
    """How many workers are asked for.

    Args:
        step: Counts the wishes of a run; 0 is its start.
        workers: How many, >= 1.
        when_lost: Only when the group has lost a worker; until then it stays as it is.
    """

    step: int
    workers: int
    when_lost: bool = False


def write_wish(folder: Path, wish: Wish) -> None:
    """Replace the wish; a reader sees the old or the new one."""
    new = folder / f"{_NAME}.new"
    new.write_text(json.dumps(asdict(wish)), encoding="utf-8")
    os.replace(new, folder / _NAME)


def read_wish(folder: Path) -> Wish:
    """Return the newest wish."""
    return Wish(**json.loads((folder / _NAME).read_text(encoding="utf-8")))
