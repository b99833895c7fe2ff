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
    if json:
        # A program gets every record, and the end waits until it has read them.
        return BackgroundView(JsonView(sys.stdout), backlog=None, patience_s=None)
    return BackgroundView(RichView(sys.stdout) if _is_live(sys.stdout) else LineView(sys.stdout))


def _is_live(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
