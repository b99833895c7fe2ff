"""When things happened in each process: one file per process, one line per mark.

All clocks are the host's: the processes of one run are on one machine.
"""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

UPDATE = "update"
"""The mark at the end of an update."""

RANK = "rank"
"""With a number: the mark of a process that has another rank from the next update on."""


class Trace:
    """Writes this process's marks into a folder; open until the process ends."""

    def __init__(self, folder: str | Path, role: str) -> None:
        path = Path(folder, f"{role}-{os.getpid()}.trace")
        # Not buffered: the last mark must be there when the process is killed right after it.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.mark("born", at_s=time.time() - age_s())

    def mark(self, name: str, at_s: float | None = None) -> None:
        """Write that ``name`` happened now, or at ``at_s`` [s since the epoch]."""
        line = f"{time.time() if at_s is None else at_s:.6f} {name}\n"
        os.write(self._descriptor, line.encode())


def age_s() -> float:
    """Return the seconds since this process was started; 0 where there is no /proc."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    # The 22nd field; the second is the command in parentheses and may hold anything.
    started_ticks = int(stat.rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Marks:
    """What one process wrote, in its order: pairs of seconds since the epoch and a name."""

    role: str
    pid: int
    all: tuple[tuple[float, str], ...]

    def times(self, name: str) -> list[float]:
        """Return when ``name`` happened, ascending."""
        return sorted(at_s for at_s, each in self.all if each == name)

    def first(self, name: str) -> float:
        """Return when ``name`` happened first.

        Raises:
            LookupError: Never.
        """
        times = self.times(name)
        if not times:
            raise LookupError(f"a process with the role {self.role!r} never reached {name!r}")
        return times[0]

    def has(self, name: str) -> bool:
        """Return whether ``name`` ever happened."""
        return any(each == name for _, each in self.all)


def read_marks(folder: Path) -> list[Marks]:
    """Return what the processes of a run wrote, the eldest first.

    A last line that a killed process left half-written is dropped.
    """
    found = []
    for path in folder.glob("*.trace"):
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        pairs = (line.split(" ", 1) for line in lines)
        marks = tuple((float(at_s), name) for at_s, name in pairs)
        role, _, pid = path.stem.rpartition("-")
        found.append(Marks(role, int(pid), marks))
    return sorted((each for each in found if each.all), key=lambda each: each.all[0])


def only(found: Iterable[Marks], condition: Callable[[Marks], bool]) -> list[Marks]:
    """Return the processes that fulfil a condition.

    Raises:
        LookupError: None does.
    """
    kept = [marks for marks in found if condition(marks)]
    if not kept:
        raise LookupError("no process of the run fits: it ended early, or did not take that step")
    return kept
