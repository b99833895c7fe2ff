"""Which view fits where the output goes."""

import os
import sys
from typing import TextIO

from cluster.views.background import BackgroundView
from cluster.views.json_view import JsonView
from cluster.views.line_view import LineView
from cluster.views.rich_view import RichView
from cluster.views.view import View


def make_view(*, json: bool) -> View:
    """Return the view for the standard output; it never holds up training and outlives its reader.

    Close it, also after an error: until then lines may be waiting, and a terminal has no cursor.

    Args:
        json: One JSON line per record, for programs; else a live view on a terminal and plain
            lines elsewhere and on a terminal that cannot move its cursor.
    """
    # A process that was started with its standard output closed has none.
    out = open(os.devnull, "w") if sys.stdout is None else sys.stdout  # noqa: SIM115
    if json:
        # A program gets every record, and the end waits until it has read them.
        return BackgroundView(JsonView(out), backlog=None, patience_s=None)
    return BackgroundView(RichView(out) if _is_live(out) else LineView(out))


def _is_live(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
