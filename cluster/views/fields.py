"""Read one field of a record, which may be missing, null or not of the type it should have."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any


def number(record: Mapping[str, Any], key: str) -> float | None:
    """Return the field as a finite number, or None."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond the range of a float
        return None


def text(record: Mapping[str, Any], key: str) -> str | None:
    """Return the field as printable text on one line, or None when there is nothing to show."""
    value = record.get(key)
    return None if value is None else printable(str(value)) or None


def mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the field as an object, an empty one if it is not one."""
    value = record.get(key)
    return value if isinstance(value, Mapping) else {}


def printable(raw: str) -> str:
    """Return the text on one line and without control characters.

    Names and reasons come from outside: an escape sequence in one must not move the cursor, and a
    line break must not fake a line of ours.
    """
    shown = (" " if c.isspace() else c for c in raw if c.isspace() or not _is_control(c))
    return " ".join("".join(shown).split())


def _is_control(character: str) -> bool:
    # Cf holds the marks that reverse the direction of text, Cs are halves of a broken character.
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn")
