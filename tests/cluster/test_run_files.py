from pathlib import Path

import pytest

from absa.errors import AbsaError, DivergenceError, InputError
from absa.journal import open_journal
from absa.run_folder import JOB_FILE
from cluster.exit_code import TrainingFailedError
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.run_files import run_files

STAMP = {"time": 0.0, "generation": 0, "update": 0, "samples": 0}


@pytest.fixture
def job(tmp_path):
    return resolve(load_job(None, [f"storage={tmp_path}/runs"]))


def happen(run, event: str = "run_started") -> None:
    with open_journal(run.folder.storage, run.lineage) as journal:
        journal.append({"event": event, "lineage": run.lineage, **STAMP})


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def half_begun(run) -> None:
    """Leave what a start leaves that comes to nothing."""
    open_journal(run.folder.storage, run.lineage).close()
    ray_train = run.folder.storage.child("ray_train").child(run.ray_train_name)
    ray_train.write("checkpoint_manager_snapshot.json", [b"{}"])


def run_and_raise(job, resume, error: BaseException, happens, view=lambda record: None) -> None:
    with run_files(job, resume, view) as files:
        happens(files.open())
        raise error


def test_nothing_is_made_before_it_is_opened(job, tmp_path):
    with run_files(job, None, lambda record: None):
        pass
    assert not (tmp_path / "runs").exists()


def test_a_run_gets_its_job_and_at_the_end_its_report(job):
    seen = []
    with run_files(job, None, seen.append) as files:
        run = files.open()
        assert run.lineage == 0
        happen(run)

    folder = Path(run.folder.location)
    assert (folder / JOB_FILE).is_file()
    assert (folder / "report.html").is_file()
    assert [(e["event"], e["path"]) for e in seen] == [("run_folder", str(folder))]


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt(), RuntimeError("bug")])
def test_a_start_that_comes_to_nothing_leaves_nothing(job, tmp_path, error):
    seen = []
    with pytest.raises(type(error)):
        run_and_raise(job, None, error, half_begun, seen.append)

    assert list((tmp_path / "runs").iterdir()) == []
    assert seen == []


def test_a_resume_that_comes_to_nothing_leaves_the_run_as_it_was(job, tmp_path):
    with run_files(job, None, lambda record: None) as files:
        run = files.open()
        half_begun(run)
        happen(run)
    before = everything(tmp_path)
    with pytest.raises(InputError):
        run_and_raise(job, "latest", InputError("another model"), half_begun)

    after = everything(tmp_path)
    lock = str(Path(run.folder.location) / "lock")
    assert before.keys() == after.keys()
    assert all(after[name] == content for name, content in before.items() if name != lock)


def test_input_that_turns_out_bad_in_training_is_a_failed_training(job, tmp_path):
    with pytest.raises(TrainingFailedError, match="a bad sample") as error:
        run_and_raise(job, None, InputError("a bad sample"), happen)

    assert error.value.exit_code == 3
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("kind", [DivergenceError, TrainingFailedError])
def test_other_errors_stay_what_they_are(job, kind: type[AbsaError]):
    with pytest.raises(kind):
        run_and_raise(job, None, kind("x"), happen)


def test_a_resumed_run_keeps_the_values_it_was_resumed_with(job, tmp_path):
    with run_files(job, None, lambda record: None) as files:
        run = files.open()
        happen(run)
    longer = resolve(load_job(None, [f"storage={tmp_path}/runs", "stop.epochs=321"]))
    with run_files(longer, run.folder.location, lambda record: None) as files:
        happen(files.open())

    folder = Path(run.folder.location)
    assert load_job(folder / JOB_FILE).stop.epochs == 321
    assert "321" in (folder / "report.html").read_text()
