"""How few updates reach the accuracy of SGD at a batch of 128, on CIFAR-10, and what that is worth.

Arms differ in how batch and learning rate go; all else, and every option of a policy, is a job's
default. Growing the batch saves updates whatever makes it grow, so policies that read signals stand
beside a clock and a constant batch that make as many updates. Each arm with each seed is a cell: a
line in the file of cells, which a later call does not run again. A small network by default, an
hour of two cores; resnet20 with --full, meant for a GPU.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from absa.errors import InputError
from benchmarks.fewer_updates.arms import ARMS, TABLE, Key
from benchmarks.fewer_updates.cells import Cells
from benchmarks.fewer_updates.plot import draw
from benchmarks.fewer_updates.running import Order, run
from benchmarks.fewer_updates.size import SIZES, Size
from benchmarks.fewer_updates.tables import (
    POLICIES,
    growth_table,
    main_table,
    rows,
    tuning_table,
)
from benchmarks.fewer_updates.train import prepare
from benchmarks.measure import Arguments, parser, read, report

GPU_PROCESSES = 6
"""Side by side on one GPU, if the machine has as many cores; a guess, not measured yet."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    own = parser("fewer_updates", __doc__ or "")
    _add_arguments(own)
    options = own.parse_args(argv)
    given = read(options)
    size = SIZES[given.size]
    seeds = options.seeds or size.seeds
    cells = Cells(options.cells or Path(f"fewer_updates-{size.name}.jsonl"), size.name)
    keys = [Key(arm, seed) for arm in options.arms for seed in seeds]
    order = Order(size, keys, options.side_by_side, options.start_s, tuple(options.set))
    try:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(order.side_by_side, spawn, prepare) as pool:
            run(order, cells, pool)
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    _tell(cells, size, given)
    return 0


def _tell(cells: Cells, size: Size, given: Arguments) -> None:
    """Print what all cells of the file say together; draw the policies of the tuning seed."""
    outcomes, seed = cells.outcomes(), size.tuning_seed
    tables = [
        main_table(outcomes, size),
        tuning_table(outcomes, seed),
        growth_table(outcomes, seed),
    ]
    report("fewer_updates", rows(outcomes), given, [table for table in tables if table.rows])
    print("\nruns at", ", ".join(sorted({cell.commit for cell in cells.known.values()})))
    if given.json is not None:
        runs = {
            f"{ARMS[arm].title}, seed {seed}": outcomes[Key(arm, seed)]
            for arm in POLICIES
            if Key(arm, seed) in outcomes
        }
        given.json.with_suffix(".svg").write_text(draw(runs, size), encoding="utf-8")


def _add_arguments(own: argparse.ArgumentParser) -> None:
    own.add_argument(
        "--arms",
        type=_arms,
        default=TABLE,
        metavar="A,B",
        help=f"default: all of {', '.join(TABLE)}; what they wait for is run too",
    )
    own.add_argument("--seeds", type=_seeds, metavar="0,1", help="default: those of the size")
    own.add_argument("--cells", type=Path, metavar="FILE", help="default: fewer_updates-SIZE.jsonl")
    own.add_argument(
        "--side-by-side",
        type=int,
        default=_processes(),
        metavar="N",
        help="processes of one thread each; default here: %(default)s",
    )
    own.add_argument(
        "--start-s", type=float, metavar="S", help="begin no cell later; the next call goes on"
    )
    own.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help="an option of a job, for the arms whose batch grows; use a file of cells of its own",
    )


def _processes() -> int:
    cores = os.cpu_count() or 1
    return min(cores, GPU_PROCESSES) if torch.cuda.is_available() else min(cores, 2)


def _arms(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(unknown)}: no such arm; there are {', '.join(ARMS)}"
        )
    return names


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
