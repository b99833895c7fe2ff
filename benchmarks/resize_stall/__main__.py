"""How long training stands still when workers join, leave or are killed.

Ours (`absa train`, told by `absa scale`) beside Ray Train's own restart from a checkpoint (its
trainer, controller and worker group, a hand-written DDP loop), at equal wishes, models and batches,
one after the other; and beside the floor: a process group and one broadcast of the state, measured
alone. A stall lasts from the end of the last update before to the end of the first after, minus a
normal update (where workers join ours: to the end of the second, minus one of either group).
"""

import sys
from collections.abc import Callable, Sequence

import psutil

from benchmarks.measure import arguments, report
from benchmarks.resize_stall.cases import OffScriptError, Script, distinct, scripts
from benchmarks.resize_stall.floor import Floor, measure_floor
from benchmarks.resize_stall.ours import ours
from benchmarks.resize_stall.peer import NAME, peer
from benchmarks.resize_stall.rows import floor_table, phase_table, rows
from benchmarks.resize_stall.stall import Stall
from cluster.interrupt import interrupts

ATTEMPTS = 3
BUSY_PERCENT = 10
"""At a load of 15 on two cores a restart of the 1M model took 24 s, on an idle machine 8."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    given = arguments("resize_stall", __doc__ or "", argv)
    planned = scripts(given.size)
    stalls: dict[str, list[Stall]] = {"ours": [], NAME: []}
    _warn_if_busy()
    with interrupts():
        floors = _floors(planned)
        for number, script in enumerate(planned):
            sides = [("ours", ours), (NAME, peer)]
            for name, run in sides if number % 2 else reversed(sides):
                stalls[name] += _on_script(name, run, script)
    table = rows(distinct(planned), stalls["ours"], stalls[NAME], NAME, floors)
    report("resize_stall", table, given)
    print(f"\n{phase_table(stalls)}\n\n{floor_table(floors)}")
    return 0


def _on_script(name: str, run: Callable[[Script], list[Stall]], script: Script) -> list[Stall]:
    """Run a script, again if it was left, and say what came of it: a long run may be cut off."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            found = run(script)
        except OffScriptError as error:
            if attempt == ATTEMPTS:
                raise
            print(f"{name}, {script.size.name}: again, for {error}", file=sys.stderr, flush=True)
            continue
        said = ", ".join(f"{stall.change.name} {stall.seconds:.3f}" for stall in found)
        print(f"{name}, {script.size.name} [s]: {said}", file=sys.stderr, flush=True)
        return found
    raise AssertionError("the last attempt returns or raises")


def _warn_if_busy() -> None:
    busy = psutil.cpu_percent(interval=1.0)
    if busy > BUSY_PERCENT:
        print(
            f"others use {busy:.0f} % of this machine's processors: a restart, which is mostly "
            "imports, will look slower than it is; measure again when it is idle",
            file=sys.stderr,
        )


def _floors(planned: Sequence[Script]) -> list[Floor]:
    groups = {change.after for script in planned for change in script.changes} - {1}
    sizes = list(dict.fromkeys(script.size for script in planned))
    return [measure_floor(workers, sizes) for workers in sorted(groups)]


if __name__ == "__main__":
    sys.exit(main())
