"""Records for programs: one strict JSON object per line."""

import json
import math
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from typing import Any, TextIO

from absa.events import Record
from cluster.views.steady_stream import SteadyStream


class JsonView:
    """Writes each record as one line of ASCII to ``stream``, and keeps everybody else off it.

    Args:
        stream: Where the lines go.
        others: Where everything goes that others print to the standard output until `close`;
            default: the standard error.
    """

    def __init__(self, stream: TextIO, others: TextIO | None = None) -> None:
        self._out = SteadyStream(stream)
        self._redirected = ExitStack()
        self._redirected.enter_context(redirect_stdout(sys.stderr if others is None else others))

    def __call__(self, record: Record) -> None:
        """Write the record."""
        self._out.write(strict_json(record) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Give the standard output back."""
        self._redirected.close()


def strict_json(value: Any) -> str:
    """Return the value as JSON on one line that every parser takes.

    Python would write NaN and infinity as words that JSON does not have: they become null.
    """
    return json.dumps(_strict(value), allow_nan=False, separators=(",", ":"))


def _strict(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): _strict(part) for key, part in value.items()}
        case list() | tuple():
            return [_strict(part) for part in value]
    return str(value)
