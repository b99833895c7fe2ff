import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planning_journal import JOB


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a run folder of records."""

    def write(records: list[dict[str, Any]], *, day: int = 1, job: str = JOB) -> Path:
        folder = tmp_path / "runs" / f"known-202601{day:02}-000000-000abc"
        folder.mkdir(parents=True)
        (folder / "job.yaml").write_text(job)
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / "events.jsonl").write_text(lines)
        return folder

    return write


@pytest.fixture
def write_job(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a job file whose runs are those of `write_run`."""

    def write(job: str = JOB) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(f"{job}storage: {tmp_path}/runs\n")
        return path

    return write
