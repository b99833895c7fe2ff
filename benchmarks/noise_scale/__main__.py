"""The gradient noise scale: is it right, what does it cost, what is it while networks train.

Linear regression has an exactly known one: ours, through the whole training loop, beside it and
beside what others compute from the same gradients. Updates of two networks are timed with and
without. Networks are trained on MNIST and CIFAR-10 (where `ABSA_DATA` says) and their noise scale
is followed, and checked by what updates at two batches do to the loss.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from absa.errors import DataError
from benchmarks.measure import Row, Table, arguments, report
from benchmarks.noise_scale import accuracy, cost, course, thinning, verdict
from benchmarks.noise_scale.ranks import on_ranks


@dataclass(frozen=True)
class Size:
    """How much is done.

    Args:
        updates: Of each seed's run.
        rounds: Of alternated blocks.
    """

    updates: int
    rounds: int


SIZES = {"quick": Size(400, 2), "usual": Size(1600, 10), "full": Size(6400, 30)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    given = arguments("noise_scale", __doc__ or "", argv)
    size = SIZES[given.size]
    trainings = _with_data(course.TRAININGS[given.size])
    rows, tables = _accuracy(size)
    priced, prices = _cost(size)
    tables += [prices, *_courses(trainings)]
    report("noise_scale", [*rows, *priced], given, tables)
    return 0


def _accuracy(size: Size) -> tuple[list[Row], list[Table]]:
    seeds = range(accuracy.NUM_SEEDS)
    rows: list[Row] = []
    read = []
    for case in accuracy.CASES:
        length = size.updates * case.length
        ours = on_ranks(case.ranks, accuracy.our_readings, case, length, seeds)
        peers = accuracy.peer_readings(case, length, seeds)
        rows += verdict.rows(case, ours, peers)
        read.append((case, ours, peers))
    return rows, [verdict.table(read), thinning.thinning_table(size.updates, seeds)]


def _cost(size: Size) -> tuple[list[Row], Table]:
    timed = [(c, on_ranks(c.ranks, cost.time_case, c, size.rounds)) for c in cost.CASES]
    return [row for each in timed for row in cost.rows(*each)], cost.price_table(timed)


def _with_data(trainings: Sequence[course.Training]) -> list[course.Training]:
    """Return those whose data are there, and say which are not."""
    found = []
    for training in trainings:
        try:
            course.task_of(training)
        except DataError as error:
            print(f"{training.name} is left out: {error}", file=sys.stderr)
        else:
            found.append(training)
    return found


def _courses(trainings: Sequence[course.Training]) -> list[Table]:
    seen = [on_ranks(1, course.run, training) for training in trainings]
    if not seen:
        return []
    return [
        course.average_table(seen),
        course.course_table(seen),
        course.group_table(seen),
        course.check_table(seen),
    ]


if __name__ == "__main__":
    sys.exit(main())
