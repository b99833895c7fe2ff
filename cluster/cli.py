"""The `absa` command: reads its arguments and calls the function that does the work.

What a command needs is imported when it runs: ``--help`` and ``validate`` load neither torch nor
Ray.
"""

from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from cluster.anchor import anchored
from cluster.exit_code import MEANINGS, ExitCode
from cluster.job import Job
from cluster.job_rules import resolve
from cluster.load_job import dump_job, load_job
from cluster.operator import Order
from cluster.outcome import exit_code_of
from cluster.planning.options import Options as PlanOptions
from cluster.run_job import parse_run_job
from cluster.spectrum.options import Options

# "\b" keeps the lines of a paragraph as they are.
_EXIT_CODES = "\n".join(
    ["\b\nExit codes:", *(f"{code.value:>5}  {text}" for code, text in MEANINGS.items())]
)

app = typer.Typer(
    name="absa",
    help="Train a PyTorch model on a Ray cluster, or in this process.",
    epilog="Begin with: absa train",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.")]
OptionalJobFile = Annotated[
    Path | None,
    typer.Argument(metavar="JOB.yaml", help="The job file; without it: handwritten digits."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one value: --set batch.initial=128."),
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run: its folder, its name or 'latest'.")]


@app.command(epilog=_EXIT_CODES)
def train(
    job: OptionalJobFile = None,
    overrides: Overrides = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run from its last checkpoint.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines, for programs.")] = False,
    local: Annotated[
        bool, typer.Option("--local", help="Train in this process, without Ray.")
    ] = False,
) -> None:
    """Train a job and leave a run folder with a report."""
    run = _train_local if local else _train_on_ray
    code = exit_code_of(
        lambda: run(_job_to_train(job, overrides or [], resume), resume, json=json), json_lines=json
    )
    raise typer.Exit(code)


@app.command()
def validate(job: JobFile, overrides: Overrides = None) -> None:
    """Check a job file and print it with every default written out."""
    raise typer.Exit(exit_code_of(lambda: _validate(job, overrides or [])))


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The folder, a Python identifier.")],
) -> None:
    """Write a job and a task of your own to begin with."""
    raise typer.Exit(exit_code_of(lambda: _new(name)))


@app.command()
def export(
    run: Run,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: in the run folder.")
    ] = None,
) -> None:
    """Write the weights of a run for model.load_state_dict."""
    raise typer.Exit(exit_code_of(lambda: _export(run, output)))


@app.command()
def report(run: Run) -> None:
    """Write the report of a run again."""
    raise typer.Exit(exit_code_of(lambda: _report(run)))


@app.command()
def spectrum(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CHECKPOINT",
            help="A run: its folder, its name or 'latest'; or the folder of a checkpoint.",
        ),
    ],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="'best', or a name; default: the newest.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(metavar="N", help="Training samples; default: as in the run.")
    ] = None,
    starts: Annotated[
        int, typer.Option(metavar="N", help="Random starts: less noise.")
    ] = Options.starts,
    steps: Annotated[
        int, typer.Option(metavar="N", help="Lanczos steps for each: a finer curve.")
    ] = Options.steps,
) -> None:
    """Draw how the eigenvalues of the Hessian are distributed at a checkpoint.

    It takes starts x steps + 16 Hessian-vector products, each about as long as three gradients of
    the samples, and holds as many vectors of the model's size as there are steps.
    """
    options = Options(checkpoint, samples, starts, steps)
    raise typer.Exit(exit_code_of(lambda: _spectrum(run, options)))


@app.command()
def plan(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="RUN|JOB.yaml",
            help="A run: its folder, its name or 'latest'; or a job file, for which past runs of "
            "the same model are looked for.",
        ),
    ],
    overrides: Overrides = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Look at up to so many; default: twice as many as measured."
        ),
    ] = None,
    floor: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Of one worker's work: what each further one must add."),
    ] = PlanOptions.floor,
) -> None:
    """Draw what time costs in money: how many workers to train with.

    The price of a worker is workers.price_per_hour; without one the cost is in worker-hours.
    """
    raise typer.Exit(exit_code_of(lambda: _plan(reference, overrides or [], workers, floor)))


@app.command()
def explain(run: Run) -> None:
    """Print in plain words what a run decided, why, and what it saved."""
    raise typer.Exit(exit_code_of(lambda: _explain(run)))


@app.command()
def replay(
    run: Run,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A policy section in YAML; default: the run's own."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Print what another policy would have decided on the recorded signals of a run.

    The run's own policy gives the recorded decisions again. Options of the policy, its limits and
    what it follows can be changed one by one: --set policy.kind=noise_scale, --set batch.max=1024.
    """
    raise typer.Exit(exit_code_of(lambda: _replay(run, policy, overrides or [])))


@app.command()
def scale(
    run: Run,
    workers: Annotated[
        int, typer.Argument(metavar="WORKERS", help="Within workers.min and workers.max.")
    ],
) -> None:
    """Ask a run that is training for another number of workers."""
    raise typer.Exit(exit_code_of(lambda: _steer(run, Order(wish=workers))))


@app.command()
def hold(
    run: Run,
    off: Annotated[bool, typer.Option("--off", help="Let the policy decide again.")] = False,
) -> None:
    """Keep batch and learning rate of a run that is training as they are."""
    raise typer.Exit(exit_code_of(lambda: _steer(run, Order(hold=not off))))


@app.command()
def limit(
    run: Run,
    max_batch: Annotated[
        int, typer.Argument(metavar="BATCH", help="From the batch in force to batch.max.")
    ],
) -> None:
    """Bound how far the policy of a run that is training may grow the batch."""
    raise typer.Exit(exit_code_of(lambda: _steer(run, Order(max_batch=max_batch))))


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"absa {_version()}")
        raise typer.Exit


@app.callback()
def root(
    version_asked: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Train a PyTorch model on a Ray cluster, or in this process."""


def main() -> None:
    """Run the command line of this process."""
    app()


def _job_to_train(path: Path | None, overrides: Sequence[str], resume: str | None) -> Job:
    """Return the resolved job: that of the file, of the run to go on with, or the default."""
    if resume is None or path is not None:
        return anchored(resolve(load_job(path, overrides)))
    from absa.run_folder import JOB_FILE, open_run

    storage = [text for text in overrides if text.startswith("storage=")]
    folder = open_run(resume, load_job(None, storage).storage)
    content = folder.storage.read(JOB_FILE)
    return anchored(resolve(parse_run_job(content, f"{folder.location}/{JOB_FILE}", overrides)))


def _train_on_ray(job: Job, resume: str | None, *, json: bool) -> int:
    from cluster.driver import train_on_ray
    from cluster.views import make_view

    with closing(make_view(json=json)) as view:
        return train_on_ray(job, resume=resume, view=view)


def _train_local(job: Job, resume: str | None, *, json: bool) -> int:
    from cluster.local import train_local
    from cluster.views import make_view

    with closing(make_view(json=json)) as view:
        return train_local(job, resume=resume, view=view)


def _validate(path: Path, overrides: Sequence[str]) -> int:
    typer.echo(dump_job(resolve(load_job(path, overrides))), nl=False)
    return ExitCode.FINISHED


def _new(name: str) -> int:
    from cluster.starter.write import write_starter

    folder = write_starter(Path(), name)
    typer.echo(
        f"{folder}/job.yaml and {folder}/task.py are there; now: absa train {folder}/job.yaml"
    )
    return ExitCode.FINISHED


def _export(run: str, output: Path | None) -> int:
    from absa.export.weights import export_weights

    typer.echo(export_weights(run, output, storage=_default_storage()))
    return ExitCode.FINISHED


def _report(run: str) -> int:
    from absa.run_folder import open_run
    from cluster.report.write import write_report

    typer.echo(write_report(open_run(run, _default_storage()).location))
    return ExitCode.FINISHED


def _spectrum(run: str, options: Options) -> int:
    from cluster.spectrum.draw import draw_on_terminal

    draw_on_terminal(run, options, _default_storage())
    return ExitCode.FINISHED


def _explain(run: str) -> int:
    from cluster.explaining.explain import explain_on_terminal

    explain_on_terminal(run, _default_storage())
    return ExitCode.FINISHED


def _replay(run: str, policy: Path | None, overrides: Sequence[str]) -> int:
    from cluster.replaying.draw import draw_on_terminal
    from cluster.replaying.other import Other

    draw_on_terminal(run, Other(policy, tuple(overrides)), _default_storage())
    return ExitCode.FINISHED


def _plan(reference: str, overrides: Sequence[str], workers: int | None, floor: float) -> int:
    from cluster.planning.draw import draw_on_terminal

    options = PlanOptions(tuple(overrides), workers, floor)
    draw_on_terminal(reference, options, _default_storage())
    return ExitCode.FINISHED


def _steer(run: str, order: Order) -> int:
    from cluster.steer import steer

    typer.echo(steer(run, order, _default_storage()))
    return ExitCode.FINISHED


def _default_storage() -> str:
    """Return where runs are looked for by name when no job says it."""
    return load_job(None).storage


def _version() -> str:
    try:
        return version("absa")
    except PackageNotFoundError:
        return "(not installed)"
