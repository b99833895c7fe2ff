"""How a value that somebody wrote is shown in a message: on one line, short, printable."""

import json
import re
from typing import Any

Keys = tuple[str | int, ...]
"""The way to a value: keys of mappings and positions in lists."""

_MAX_CHARACTERS = 60
"""Of a shown value: with place and rule around it, a message keeps to two lines of 80."""


def show(value: Any) -> str:
    """Return plain data as one short line; text stands in quotes."""
    return "nothing" if value is None else shorten(json.dumps(value, ensure_ascii=False))


def show_path(keys: Keys) -> str:
    """Return a path as it is written with ``--set``."""
    return ".".join(_show_key(key) if isinstance(key, str) else str(key) for key in keys)


def shorten(text: str) -> str:
    """Return printable text of bounded length, without line breaks."""
    printable = text if text.isprintable() else ascii(text)[1:-1]
    if len(printable) <= _MAX_CHARACTERS:
        return printable
    return printable[: _MAX_CHARACTERS - 3] + "..."


def _show_key(key: str) -> str:
    return key if re.fullmatch(r"[\w-]{1,40}", key) else show(key)
