"""Which view fits where the output goes."""

import io
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
    out = _standard_output()
    if json:
        # A program gets every record, and the end waits until it has read them.
        return BackgroundView(JsonView(out), backlog=None, patience_s=None)
    return BackgroundView(RichView(out) if _is_live(out) else LineView(out))


def _standard_output() -> TextIO:
    """Return it, or a closed stream where the process was started without one."""
    out: TextIO | None = sys.stdout
    if out is None:
        out = io.StringIO()
        out.close()
    return out


def _is_live(stream: TextIO) -> bool:
    return (
        not stream.closed
        and stream.isatty()
        and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    )
