"""Plain values as strict JSON and back, bit for bit.

JSON has no tuple and no number that is not finite; they are written as ``{"$tuple": [...]}`` and
``{"$float": "nan" | "inf" | "-inf"}``. Finite floats are written with as many digits as bring them
back exactly, integers in full. A key of the caller's that starts with "$" gets one more.
"""

import json
import math
from collections.abc import Mapping

from absa.errors import CheckpointError
from absa.state import Json


def dump_exact(value: Json) -> bytes:
    """Return ``value`` as one strict JSON document in ASCII.

    Raises:
        CheckpointError: Something in it is no plain value, or a key is no text.
    """
    try:
        return json.dumps(_tagged(value, ""), allow_nan=False).encode()
    except (RecursionError, ValueError) as cause:
        raise CheckpointError(f"a value cannot be written as JSON: {cause}") from cause


def load_exact(data: bytes) -> Json:
    """Return what `dump_exact` was given.

    Raises:
        CheckpointError: It is not such a document.
    """
    try:
        return _untagged(json.loads(data))
    except (RecursionError, ValueError) as cause:
        raise CheckpointError(f"not a JSON document of absa: {cause}") from cause


def _tagged(value: Json, where: str) -> Json:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, tuple):
        return {"$tuple": [_tagged(v, f"{where}[{i}]") for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [_tagged(v, f"{where}[{i}]") for i, v in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(k, where): _tagged(v, f"{where}.{k}") for k, v in value.items()}
    raise CheckpointError(
        f"the value at {where.lstrip('.') or 'the top'} is a {type(value).__name__}; allowed are "
        "None, bool, int, float, str, and lists, tuples and string-keyed dicts of these"
    )


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise CheckpointError(
            f"the key {key!r} at {where.lstrip('.') or 'the top'} is a {type(key).__name__}, "
            "must be text"
        )
    return f"${key}" if key.startswith("$") else key


def _untagged(value: Json) -> Json:
    if isinstance(value, list):
        return [_untagged(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$tuple"} and isinstance(value["$tuple"], list):
        return tuple(_untagged(v) for v in value["$tuple"])
    if value.keys() == {"$float"} and value["$float"] in ("nan", "inf", "-inf"):
        return float(value["$float"])
    unknown = [key for key in value if key.startswith("$") and not key.startswith("$$")]
    if unknown:
        raise ValueError(f"unknown tag {unknown[0]!r}")
    return {k[1:] if k.startswith("$$") else k: _untagged(v) for k, v in value.items()}
