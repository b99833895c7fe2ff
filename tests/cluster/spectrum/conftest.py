from collections.abc import Callable
from pathlib import Path

import pytest

from absa.run_folder import RunFolder, open_run
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.local import train_local
from cluster.spectrum.restored import Restored, build, find, read

SMALL = [
    "model.name=mlp",
    "model.args.hidden=[2]",
    "schedule.warmup.kind=none",
    "workers.threads=1",
    "batch.initial=128",
    "stop.epochs=1",
    "curvature.samples=8",
    "curvature.every_epochs=0.5",
    "curvature.max_share=1",
]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was trained for one epoch and measured its curvature twice."""
    storage = str(tmp_path_factory.mktemp("spectrum") / "runs")
    job = resolve(load_job(None, [f"storage={storage}", *SMALL]))
    assert train_local(job, resume=None, view=_ignore) == 0
    return open_run("latest", storage)


def _ignore(record: dict) -> None:
    """Show nothing."""


@pytest.fixture
def restore(run: RunFolder) -> Callable[[], Restored]:
    """Return a function that builds the run's newest checkpoint anew."""

    def build_it() -> Restored:
        _, name = find(run.location, None, "nowhere")
        return build(run, name, *read(run, name))

    return build_it


@pytest.fixture
def storage(run: RunFolder) -> str:
    return str(Path(run.location).parent)
