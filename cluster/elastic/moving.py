"""State on its way to newcomers while the others go on computing with it."""

import threading
from collections.abc import Callable

from absa.handover.run import RunAgreed
from absa.state import StateTree


class Moving(threading.Thread):
    """Moves the tensors of a hand-over in a thread of its own.

    Args:
        agreed: The hand-over.
        arrived: Called in the training thread once this rank has the state.
    """

    def __init__(self, agreed: RunAgreed, arrived: Callable[[], None]) -> None:
        super().__init__(name="state", daemon=True)
        self._agreed, self._arrived = agreed, arrived
        self._tree: StateTree | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Move them."""
        try:
            self._tree = self._agreed.move()
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        """Return once this rank has the state; called in the training thread.

        Raises:
            LostPeerError: A peer was lost.
        """
        self.join()
        if self._error is not None:
            raise self._error
        assert self._tree is not None
        self._agreed.adopt(self._tree)
        self._arrived()
