"""``absa explain``: from a run to some lines."""

from rich.console import Console

from absa.run_folder import open_run
from cluster.explaining.read import read_explained
from cluster.explaining.text import ExplainedText
from cluster.views.terminal import terminal


def explain(reference: str, storage: str, console: Console) -> None:
    """Print the decisions of a run, also while it trains.

    Args:
        reference: A run, as `open_run` takes it.
        storage: Where runs are looked for by name.
        console: Gets the lines.

    Raises:
        CheckpointError: There is no such run, or nothing has been recorded of it.
    """
    console.print(ExplainedText(read_explained(open_run(reference, storage))))


def explain_on_terminal(reference: str, storage: str) -> None:
    """Do what `explain` does, with this process's standard output."""
    explain(reference, storage, terminal())
