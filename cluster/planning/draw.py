"""``absa plan``: from a run or a job to a page and a few lines."""

from rich.console import Console

from absa.storage import open_storage
from cluster.planning.find import Plan, is_job, plan_of
from cluster.planning.options import Options
from cluster.planning.page import make_page
from cluster.planning.text import PlanText
from cluster.report.run_files import write_page
from cluster.views.terminal import tell_page, terminal

PLAN = "plan.html"


def draw_plan(reference: str, options: Options, storage: str, console: Console) -> str:
    """Plan a run or a job, write the page and print the choices.

    Args:
        reference: A run, as `open_run` takes it, or a job file.
        options: How far to look.
        storage: Where runs are looked for by name.
        console: Gets the choices.

    Returns:
        Where the page lies: ``plan.html`` in the run's folder, or ``<job>-plan.html`` in the
        storage of the job.

    Raises:
        InputError: There is no such run, or the job is wrong.
        MeasurementError: Nothing is known of how long updates take.
    """
    plan = plan_of(reference, options, storage)
    path = _write(plan, make_page(plan), of_job=is_job(reference))
    console.print(PlanText(plan))
    return path


def draw_on_terminal(reference: str, options: Options, storage: str) -> None:
    """Do what `draw_plan` does, with this process's standard output."""
    console = terminal()
    path = draw_plan(reference, options, storage, console)
    tell_page(console, path)


def _write(plan: Plan, page: str, *, of_job: bool) -> str:
    if of_job:
        root = open_storage(plan.job.storage)
        return write_page(root.location, page, f"{plan.job.name}-{PLAN}")
    return write_page(plan.runs[0].location, page, PLAN)
