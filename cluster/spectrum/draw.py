"""``absa spectrum``: from a run or a checkpoint to a page and a few lines."""

import os
import sys
from collections.abc import Callable

import torch
from rich.console import Console

from absa.host_memory import keep_freed_memory
from absa.journal import read_journal
from cluster.report.run_files import write_page
from cluster.spectrum.measure import measure
from cluster.spectrum.options import Options, check
from cluster.spectrum.page import make_page
from cluster.spectrum.restored import build, find, read
from cluster.spectrum.text import SpectrumText
from cluster.task_error import task_errors
from cluster.views.terminal import tell_page, terminal

SPECTRUM = "spectrum.html"


def draw_spectrum(
    reference: str, options: Options, storage: str, console: Console, tell: Callable[[str], None]
) -> str:
    """Measure the spectrum of a checkpoint, write ``spectrum.html`` and print the numbers.

    Args:
        reference: A run, as `open_run` takes it, or the path or URL of one of its checkpoints.
        options: How exactly.
        storage: Where runs are looked for by name.
        console: Gets the numbers.
        tell: Gets the cost before most of it arises.

    Returns:
        Where the page lies: in the run's folder.

    Raises:
        InputError: There is no such checkpoint, or its curvature cannot be measured.
    """
    check(options)
    run, checkpoint = find(reference, options.checkpoint, storage)
    tree, job = read(run, checkpoint)
    torch.set_num_threads(job.workers.threads or os.cpu_count() or 1)
    keep_freed_memory()
    with task_errors(job):
        restored = build(run, checkpoint, tree, job)
        spectrum = measure(restored, options, tell)
    page = make_page(restored, spectrum, read_journal(run.storage))
    path = write_page(run.location, page, SPECTRUM)
    console.print(SpectrumText(restored, spectrum))
    return path


def draw_on_terminal(reference: str, options: Options, storage: str) -> None:
    """Do what `draw_spectrum` does, with this process's standard output and standard error."""
    console = terminal()
    path = draw_spectrum(
        reference, options, storage, console, lambda text: print(text, file=sys.stderr, flush=True)
    )
    tell_page(console, path)
