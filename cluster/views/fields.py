"""Read one field of a record, which may be missing, null or not of the type it should have."""

import math
from collections.abc import Mapping
from typing import Any


def number(record: Mapping[str, Any], key: str) -> float | None:
    """Return the field as a finite number, or None."""
    value = record.get(key)
    if type(value) is float:  # nearly always, and a report asks for millions
        return value if math.isfinite(value) else None
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
    if not raw.isprintable():
        raw = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in raw)
    return " ".join(raw.split())
