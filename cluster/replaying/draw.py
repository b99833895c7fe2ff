"""``absa replay``: from a run and another policy to some lines."""

from rich.console import Console

from absa.run_folder import open_run
from cluster.replaying.compare import compare
from cluster.replaying.other import Other
from cluster.replaying.text import ComparisonText
from cluster.views.terminal import terminal


def draw_replay(reference: str, other: Other, storage: str, console: Console) -> None:
    """Print what another policy would have decided, beside what was decided.

    Args:
        reference: A run, as `open_run` takes it; it may be training.
        other: The policy to ask instead.
        storage: Where runs are looked for by name.
        console: Gets the lines.

    Raises:
        InputError: There is no such run, or the policy cannot be used with it.
        MeasurementError: The journal does not say enough.
    """
    console.print(ComparisonText(compare(open_run(reference, storage), other)))


def draw_on_terminal(reference: str, other: Other, storage: str) -> None:
    """Do what `draw_replay` does, with this process's standard output."""
    draw_replay(reference, other, storage, terminal())
