"""This process's standard output, for commands that print once."""

import sys
from typing import TextIO

from rich.console import Console

from cluster.views.steady_stream import SteadyStream


def terminal() -> Console:
    """Return this process's standard output, whose reader may go away."""
    # rich asks of a file only what a text stream of ours has
    out: TextIO = SteadyStream(sys.stdout)  # type: ignore[assignment]
    return Console(file=out, highlight=False, markup=False, emoji=False)


def tell_page(console: Console, path: str) -> None:
    """Say where a page lies, in one piece however long that is.

    Args:
        console: As `terminal` returns it.
        path: Of the page.
    """
    console.file.write(f"\n  page  {path}\n")
    console.file.flush()
