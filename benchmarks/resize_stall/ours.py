"""Ours: the same script on `absa train`, its stalls read from the marks that its workers left."""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.resize_stall.cases import Change, OffScriptError, Script, Size
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
class Made:
    """A change that was asked for, or forced by a kill, and the journal's record of it."""

    change: Change
    asked_s: float
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Happened:
    """What a run did.

    Args:
        changes: In their order.
        calm: Where normal updates are found. There is none after a worker was killed: another is
            started in its place at once, without being asked for.
    """

    changes: Sequence[Made]
    calm: Sequence[Calm]


def ours(script: Script) -> list[Stall]:
    """Run a script on `absa train` and return its stalls, in the order of its changes."""
    with tempfile.TemporaryDirectory(prefix="stall-") as name:
        folder = Path(name)
        with our_run(script, folder) as run:
            happened = _carry_out(script, run)
        return our_stalls(script.size, happened, read_marks(folder))


def _carry_out(script: Script, run: OurRun) -> Happened:
    changes: list[Made] = []
    calm: list[Calm] = []
    since_s, asked_s, killed = time.time(), 0.0, False
    for number, change in enumerate(script.changes):
        if not killed:
            calm.append(_stay_calm(run, change.before, since_s))
            asked_s = time.time()
            if change.victim is None:
                run.scale(change.after)
            else:
                run.kill(change.victim)
        record = run.wait_for_resize(number)
        if (record["before"], record["after"]) != (change.before, change.after):
            raise OffScriptError(f"our run was to go {change.name}, and did {record}")
        changes.append(Made(change, asked_s, record))
        since_s, killed = record["time"], change.victim is not None
    last = _stay_calm(run, script.changes[-1].after, since_s)
    if not killed:
        calm.append(last)
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
    return [_stall(size, made, found, normal_s) for made in happened.changes]


def _normal_s(calm: Sequence[Calm], found: Sequence[Marks]) -> dict[int, float]:
    """Return the median time of an update by number of workers."""
    gaps: dict[int, list[float]] = {}
    for stretch in calm:
        for each in found:
            ends_s = [t for t in each.times(UPDATE) if stretch.begin_s < t <= stretch.end_s]
            settled = ends_s[SETTLE_UPDATES:]
            gaps.setdefault(stretch.workers, []).extend(b - a for a, b in pairwise(settled))
    return {workers: statistics.median(each) for workers, each in gaps.items() if each}


def _stall(size: Size, made: Made, found: Sequence[Marks], normal_s: Mapping[int, float]) -> Stall:
    """Take one change apart."""
    change, record = made.change, made.record
    begin_s, last_s = _gap(found, record)
    newcomers = _newcomers(found, begin_s, max(change.after - change.before, 0))
    end_s = max([last_s, *(each.first(UPDATE) for each in newcomers)])
    seconds = end_s - begin_s - normal_s[change.after]
    if newcomers:
        # Those that were there make one more update alone while the state moves.
        next_s = _next(found, begin_s, end_s)
        seconds = next_s - begin_s - normal_s[change.before] - normal_s[change.after]
    phases = {**record["phases"]}
    phases["rest"] = seconds - sum(phases.values())
    # A process may have been started before somebody asked for it.
    born_s = [max(each.first("born"), made.asked_s) for each in newcomers]
    warmup_s = begin_s - min(born_s, default=begin_s)
    lost = lost_worker_s(
        change,
        seconds,
        [end_s - born for born in born_s],
        _slowdown(found, begin_s, warmup_s, normal_s[change.before]),
        warmup_s,
    )
    return Stall(size, change, seconds, normal_s[change.after], phases, lost)


def _gap(found: Sequence[Marks], record: Mapping[str, Any]) -> tuple[float, float]:
    """Return the longest time between two updates of a process that touches a recorded stall.

    Others that trained before and after have nearly the same gap: it counts from the last of them
    that made an update to the last that made the next.

    Raises:
        LookupError: Nobody trained before and after.
    """
    begin_s, end_s = record["time"] - record["seconds"], record["time"]
    pairs = [pair for each in found for pair in pairwise(each.times(UPDATE))]
    touching = [(a, b) for a, b in pairs if a <= end_s and b >= begin_s]
    if not touching:
        raise LookupError(f"no process trained before and after {begin_s:.3f} - {end_s:.3f}")
    longest = max(touching, key=lambda pair: pair[1] - pair[0])
    middle_s = sum(longest) / 2
    same = [(a, b) for a, b in touching if a < middle_s < b]
    return max(a for a, _ in same), max(b for _, b in same)


def _next(found: Sequence[Marks], begin_s: float, end_s: float) -> float:
    """Return when the update after one was made, by the last of those who took part in both."""
    times = [each.times(UPDATE) for each in found]
    part = [each for each in times if any(begin_s < t <= end_s for t in each)]
    return max(min(t for t in each if t > end_s) for each in part if each[-1] > end_s)


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
