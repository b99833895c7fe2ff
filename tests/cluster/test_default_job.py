"""The job that runs without arguments, whole: `make soak`."""

from pathlib import Path

import pytest

from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.local import train_local


class Records(list):
    """A view that keeps what it is told."""

    def __call__(self, record: dict) -> None:
        self.append(record)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5))
def test_every_seed_reaches_97_percent(seed: int, tmp_path: Path) -> None:
    overrides = [f"seed={seed}", f"storage={tmp_path}", "workers.threads=1"]
    records = Records()
    assert train_local(resolve(load_job(None, overrides)), resume=None, view=records) == 0
    ended = next(record for record in records if record["event"] == "run_ended")
    assert ended["metrics"]["accuracy"] >= 0.97, ended
