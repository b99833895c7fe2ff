"""A text stream that never fails: whoever reads a view may go away, training goes on."""

import os
from typing import TextIO


class SteadyStream:
    """Writes to a stream until its reader is gone, then to nowhere.

    Characters that the stream's encoding lacks are replaced.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self._gone = False

    def write(self, text: str) -> int:
        """Write the text, or drop it when nobody reads."""
        if not self._gone:
            shown = text.encode(self.encoding, "replace").decode(self.encoding)
            try:
                self._stream.write(shown)
            except (OSError, ValueError):  # ValueError: the stream was closed
                self._give_up()
        return len(text)

    def flush(self) -> None:
        """Hand everything on."""
        if not self._gone:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._give_up()

    def isatty(self) -> bool:
        """Return whether a terminal reads."""
        return not self._gone and self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor of the stream."""
        return self._stream.fileno()

    def _give_up(self) -> None:
        self._gone = True
        # What is still buffered would fail again, loudly, when the interpreter closes the stream.
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
        except (OSError, ValueError):
            pass
