"""Runs the cells that are missing, several side by side."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from functools import cache

from benchmarks.fewer_updates.arms import ARMS, Ask, Key
from benchmarks.fewer_updates.cells import Cell, Cells
from benchmarks.fewer_updates.outcome import Outcome
from benchmarks.fewer_updates.size import Size
from benchmarks.fewer_updates.train import Work, train
from benchmarks.measure import commit, machine
from cluster.job_rules import resolve
from cluster.load_job import parse_job


@dataclass(frozen=True)
class Order:
    """What is to be run.

    Args:
        size: Of the benchmark.
        keys: The cells that are asked for.
        side_by_side: How many at a time, > 0.
        start_s: No cell is begun after so many seconds; None: all are.
        overrides: ``a.b=value``, set in the jobs of the arms whose batch grows.
    """

    size: Size
    keys: Sequence[Key]
    side_by_side: int
    start_s: float | None = None
    overrides: tuple[str, ...] = ()

    def work(self, key: Key, known: Mapping[Key, Outcome]) -> Work:
        """Return what a cell trains, if what it needs is known; no default is left out of its job.

        Raises:
            ConfigError: An override is wrong.
        """
        work = ARMS[key.arm].job(Ask(self.size, key.seed, known))
        overrides = () if work.job["policy"]["kind"] == "fixed" else self.overrides
        return Work(json.loads(_in_full(json.dumps(work.job), overrides)), work.course)

    def needs(self, key: Key) -> tuple[Key, ...]:
        """Return the cells that a cell waits for."""
        return ARMS[key.arm].needs(key.seed, self.size.tuning_seed)


@cache  # asked for again whenever another cell is done
def _in_full(job: str, overrides: tuple[str, ...]) -> str:
    """Return a job with all its defaults: when those change, it is another one."""
    return resolve(parse_job(job.encode(), "the arm's job", overrides)).model_dump_json()


def all_needed(order: Order) -> list[Key]:
    """Return the cells asked for and all that they wait for, these first."""
    found: dict[Key, None] = {}

    def visit(key: Key) -> None:
        for needed in order.needs(key):
            visit(needed)
        found.setdefault(key)

    for key in order.keys:
        visit(key)
    names = list(ARMS)
    return sorted(found, key=lambda key: (names.index(key.arm), key.seed))


def run(
    order: Order,
    cells: Cells,
    pool: Executor,
    do: Callable[[Work], Outcome] = train,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run what is missing; each cell is in the file as soon as it is done.

    Args:
        order: What is to be run.
        cells: What is known, and where to write.
        pool: Where it is run.
        do: Does the work.
        clock: Seconds from any origin.
    """
    left, began_s = all_needed(order), clock()
    under_way: dict[Future[Outcome], tuple[Key, Work]] = {}
    settled: set[Key] = set()
    while left or under_way:
        if order.start_s is not None and clock() - began_s > order.start_s:
            left.clear()
        for key, work in _ready(order, left, settled, cells):
            if len(under_way) == order.side_by_side:
                break
            left.remove(key)
            under_way[pool.submit(do, work)] = key, work
        if not under_way:
            continue  # no time is left, or what was known already lets others be ready now
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            key, work = under_way.pop(future)
            _add(cells, key, work, future.result())
            settled.add(key)


def _ready(
    order: Order, left: list[Key], settled: set[Key], cells: Cells
) -> Iterator[tuple[Key, Work]]:
    """Settle the cells that are known, and yield those that can be run now."""
    for key in list(left):
        if not settled.issuperset(order.needs(key)):
            continue
        work = order.work(key, cells.outcomes())
        same = cells.same(work)
        if same is None:
            yield key, work
            continue
        if not cells.has(key, work):
            _add(cells, key, work, same)
        left.remove(key)
        settled.add(key)


def _add(cells: Cells, key: Key, work: Work, outcome: Outcome) -> None:
    cells.add(key, Cell(work, outcome, commit(), machine()))
    print(
        f"{key.arm}, seed {key.seed}: {outcome.updates} updates, accuracy {outcome.accuracy:.4f}, "
        f"{outcome.seconds:.0f} s",
        file=sys.stderr,
        flush=True,
    )
