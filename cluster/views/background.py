"""Show records from a thread of its own: a slow or stopped terminal must never hold up training."""

from queue import SimpleQueue
from threading import Thread

from absa.events import Record
from cluster.views.view import View


class BackgroundView:
    """Hands records to another view in a thread of its own.

    Args:
        view: Shows the records.
        backlog: Observations that come while more records than this are waiting are dropped: a
            later one says all that they would have. None: nothing is ever dropped.
        patience_s: How long `close` waits for a reader that does not keep up; None: as long as it
            takes.
    """

    def __init__(
        self, view: View, *, backlog: int | None = 256, patience_s: float | None = 5.0
    ) -> None:
        self._view = view
        self._backlog = backlog
        self._patience_s = patience_s
        self._waiting: SimpleQueue[Record | None] = SimpleQueue()
        self._thread = Thread(target=self._show, name="absa-view", daemon=True)
        self._thread.start()

    def __call__(self, record: Record) -> None:
        """Take the record and return at once."""
        if not self._thread.is_alive():
            return
        behind = self._backlog is not None and self._waiting.qsize() > self._backlog
        if not (behind and record.get("event") == "observation"):
            self._waiting.put(record)

    def close(self) -> None:
        """Show what is waiting, and close the view."""
        self._waiting.put(None)
        self._thread.join(self._patience_s)

    def _show(self) -> None:
        try:
            while (record := self._waiting.get()) is not None:
                self._view(record)
        finally:
            self._view.close()
