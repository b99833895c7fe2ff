"""How exact and how dear the largest Hessian eigenvalue is over a real run on CIFAR-10.

Our engine trains; its weights are kept at every measuring point, and all methods measure the same
weights and samples: our tracker as a job has it, PyHessian, curvlinops with scipy's eigsh, and the
recipe of ABS's authors. Numerical errors are against the converged value of the same samples,
errors of sampling against many more. A price in gradients is the time of a measurement over that
of one gradient of the same samples in evaluation mode, both measured in turn.
"""

import sys
from collections.abc import Sequence

from absa.host_memory import keep_freed_memory
from benchmarks.curvature.cases import cases
from benchmarks.curvature.methods import PEERS
from benchmarks.curvature.one_case import run_case
from benchmarks.measure import Row, arguments, missing, report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    given = arguments("curvature", __doc__ or "", argv)
    if not PEERS:
        return missing("pyhessian and curvlinops")
    keep_freed_memory()
    rows: list[Row] = []
    for case in cases(given.size):
        result = run_case(case)
        rows += result.rows
        # After each: a run that is cut short has then said what it knows.
        report("curvature", rows, given)
        print("", *result.tables, sep="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
