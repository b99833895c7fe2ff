"""Make the report of a run: one file that opens anywhere, without a network."""

import os
from pathlib import Path

from cluster.report.charts import make_charts
from cluster.report.happenings import happenings
from cluster.report.headline import make_headline
from cluster.report.history import place, survivors
from cluster.report.page import make_page
from cluster.report.run_files import RunFiles, read_run, write_page


def write_report(run_folder: str | os.PathLike[str]) -> str:
    """Write ``report.html`` into a run folder, of whatever the run has recorded so far.

    Args:
        run_folder: The run may be going on, over, interrupted or resumed.

    Returns:
        Where the report lies.

    Raises:
        InputError: The folder holds no journal.
    """
    return write_page(run_folder, render(read_run(run_folder)))


def render(run: RunFiles) -> str:
    """Return the report as HTML."""
    placed = place(run.records)
    points = survivors(placed)
    rows, left_out = happenings(placed)
    headline = make_headline(points, Path(run.location).name)
    return make_page(headline, make_charts(points), rows, left_out, run.job)
