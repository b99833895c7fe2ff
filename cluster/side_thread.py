"""Work beside the main thread, which alone can be told to stop by a signal."""

import threading
from collections.abc import Callable


class SideThread(threading.Thread):
    """Calls a function in a thread that does not hold up the end of the process.

    Args:
        name: Of the thread.
        work: What to call; what it raises is kept in ``error``.
    """

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        """Wait for the end and raise what the work raised."""
        self.join()
        if self.error is not None:
            raise self.error
