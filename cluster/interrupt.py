"""Ctrl-C and SIGTERM: at once while a run starts, later a request to checkpoint and end."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """Ends the process at the first signal, until `defer` is called.

    From then on the first signal only sets ``asked``, and a second SIGINT ends the process at once.
    "Ends" means `KeyboardInterrupt` in the main thread, so that everything is closed on the way.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._deferred = False

    def defer(self) -> None:
        """Take the next signal as a request: training has begun and can end in an orderly way."""
        self._deferred = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if not self._deferred or (self.asked.is_set() and number == signal.SIGINT):
            raise KeyboardInterrupt
        self.asked.set()


@contextlib.contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Handle SIGINT and SIGTERM for the duration of a ``with`` block.

    Outside the main thread, where Python handles no signals, nothing is ever asked.
    """
    found = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {n: signal.signal(n, found.handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Put the handlers back that a library replaces inside the ``with`` block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
