"""The last records of a rank, for a rank 0 that could not make them itself.

Every rank makes the same records; rank 0 passes them on. When a collective fails, it may have
succeeded on others, which went on from it: what they have noted since is then not known to rank 0.
"""

from collections.abc import Sequence

from absa.events import Record

_REACH = 2
"""The most steps by which one rank can be ahead of another: one collective that failed elsewhere,
and the end of the boundary; the next collective needs them all."""

Entry = tuple[int, Record]
"""A record and the position (`Standing.position`) at which it was made."""


class Logbook:
    """Keeps the records that another rank may lack, and those that nobody has passed on yet."""

    def __init__(self) -> None:
        self._recent: list[Entry] = []
        self._held: list[Record] | None = None

    def add(self, position: int, record: Record) -> Sequence[Record]:
        """Note what happened.

        Args:
            position: Where.
            record: What.

        Returns:
            The records to pass on now.
        """
        self._recent = [*self.recent(position), (position, record)]
        if self._held is None:
            return (record,)
        self._held.append(record)
        return ()

    def recent(self, position: int) -> list[Entry]:
        """Return what a rank may lack that is behind ``position``, the position of this rank."""
        return [entry for entry in self._recent if entry[0] > position - _REACH]

    def hold(self) -> None:
        """Pass nothing on until this rank knows whether it stands where the others do."""
        self._held = self._held or []

    @property
    def held(self) -> Sequence[Record]:
        """The records that were held back."""
        return self._held or ()

    def replace(self, entries: Sequence[Entry]) -> None:
        """Keep the entries of the rank where this one stands now, and hold nothing back."""
        self._recent, self._held = list(entries), None
