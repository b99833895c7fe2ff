"""Ours: the same script on `absa train`, its stalls read from the marks that its workers left."""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.resize_stall.cases import Change, Script, Size
from benchmarks.resize_stall.our_run import OurRun, our_run
from benchmarks.resize_stall.stall import SETTLE_UPDATES, UPDATES, Stall, lost_worker_s
from benchmarks.resize_stall.trace import UPDATE, Marks, only, read_marks


@dataclass(frozen=True)
class Calm:
    """So many workers trained undisturbed between two points of time [s since the epoch]."""

    workers: int
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Happened:
    """What a run did.

    Args:
        changes: Each with the journal's record of it.
        calm: Where normal updates are found. There is none after a worker was killed: another is
            started in its place at once, without being asked for.
    """

    changes: Sequence[tuple[Change, Mapping[str, Any]]]
    calm: Sequence[Calm]


def ours(script: Script) -> list[Stall]:
    """Run a script on `absa train` and return its stalls, in the order of its changes."""
    with tempfile.TemporaryDirectory(prefix="stall-") as name:
        folder = Path(name)
        with our_run(script, folder) as run:
            happened = _carry_out(script, run)
        return our_stalls(script.size, happened, read_marks(folder))


def _carry_out(script: Script, run: OurRun) -> Happened:
    changes: list[tuple[Change, Mapping[str, Any]]] = []
    calm: list[Calm] = []
    since_s = time.time()
    for number, change in enumerate(script.changes):
        replaced = number > 0 and script.changes[number - 1].victim is not None
        if not replaced:
            calm.append(_stay_calm(run, change.before, since_s))
            if change.victim is None:
                run.scale(change.after)
            else:
                run.kill(change.victim)
        record = run.wait_for_resize(number)
        if (record["before"], record["after"]) != (change.before, change.after):
            raise RuntimeError(f"our run was to go {change.name}, and did {record}")
        changes.append((change, record))
        since_s = record["time"]
    calm.append(_stay_calm(run, script.changes[-1].after, since_s))
    return Happened(changes, calm)


def _stay_calm(run: OurRun, workers: int, since_s: float) -> Calm:
    run.wait_for_updates(UPDATES, since_s)
    return Calm(workers, since_s, time.time())


def our_stalls(size: Size, happened: Happened, found: Sequence[Marks]) -> list[Stall]:
    """Return the stalls of a run from its marks; the journal only says where to look, and why.

    Raises:
        LookupError: Marks are missing.
    """
    normal_s = _normal_s(happened.calm, found)
    return [_stall(size, change, record, found, normal_s) for change, record in happened.changes]


def _normal_s(calm: Sequence[Calm], found: Sequence[Marks]) -> dict[int, float]:
    """Return the median time of an update by number of workers."""
    gaps: dict[int, list[float]] = {}
    for stretch in calm:
        for each in found:
            ends_s = [t for t in each.times(UPDATE) if stretch.begin_s < t <= stretch.end_s]
            settled = ends_s[SETTLE_UPDATES:]
            gaps.setdefault(stretch.workers, []).extend(b - a for a, b in pairwise(settled))
    return {workers: statistics.median(each) for workers, each in gaps.items() if each}


def _stall(
    size: Size,
    change: Change,
    record: Mapping[str, Any],
    found: Sequence[Marks],
    normal_s: Mapping[int, float],
) -> Stall:
    """Take one change apart."""
    gaps = [gap for each in found if (gap := _gap(each, record)) is not None]
    if not gaps:
        raise LookupError(f"nobody trained before and after {change.name} at {record['time']}")
    begin_s = max(begin for begin, _ in gaps)
    newcomers = _newcomers(found, begin_s, max(change.after - change.before, 0))
    end_s = max([end for _, end in gaps] + [each.first(UPDATE) for each in newcomers])
    seconds = end_s - begin_s - normal_s[change.after]
    phases = {**record["phases"]}
    phases["rest"] = seconds - sum(phases.values())
    warmup_s = max((begin_s - each.first("born") for each in newcomers), default=0.0)
    lost = lost_worker_s(
        change,
        seconds,
        [end_s - each.first("born") for each in newcomers],
        _slowdown(found, begin_s, warmup_s, normal_s[change.before]),
        warmup_s,
    )
    return Stall(size, change, seconds, normal_s[change.after], phases, lost)


def _gap(marks: Marks, record: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the longest time between two updates of a process that touches a recorded stall."""
    begin_s, end_s = record["time"] - record["seconds"], record["time"]
    touching = [(a, b) for a, b in pairwise(marks.times(UPDATE)) if a <= end_s and b >= begin_s]
    return max(touching, key=lambda gap: gap[1] - gap[0], default=None)


def _newcomers(found: Sequence[Marks], begin_s: float, num: int) -> list[Marks]:
    """Return the ``num`` processes whose first update comes next after a time."""
    if num == 0:
        return []
    later = only(found, lambda each: each.has(UPDATE) and each.first(UPDATE) > begin_s)
    return sorted(later, key=lambda each: each.first(UPDATE))[:num]


def _slowdown(found: Sequence[Marks], begin_s: float, warmup_s: float, normal_s: float) -> float:
    """Return 1 - updates per second during a warm-up that ended at ``begin_s`` / normally."""
    if warmup_s == 0.0:
        return 0.0
    made = max(sum(begin_s - warmup_s < t <= begin_s for t in each.times(UPDATE)) for each in found)
    return 1.0 - made / warmup_s * normal_s
