"""The seam between a run and whoever watches it."""

from typing import Protocol

from absa.events import Record


class View(Protocol):
    """Takes the records of a run and shows them."""

    def __call__(self, record: Record) -> None:
        """Show one record; a field that is missing or null is no error."""
        ...

    def close(self) -> None:
        """Show the closing words and leave the terminal as it was."""
        ...
