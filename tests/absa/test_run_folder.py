import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from absa.checkpoint import checkpoint_name, save_checkpoint
from absa.errors import CheckpointError, ConfigError
from absa.journal import open_journal
from absa.run_folder import _new_id, discard, new_run, open_run, write_job
from absa.state import StateTree


@pytest.fixture(autouse=True, scope="module")
def _fast_disk() -> Iterator[None]:
    """Waiting for the disk proves nothing here and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "runs")


def started(storage: str, name: str = "digits"):
    run = new_run(storage, name)
    write_job(run, f"name: {name}\n")
    return run


def test_ids_sort_by_time() -> None:
    begin = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    ids = [_new_id(begin + timedelta(milliseconds=ms)) for ms in (0, 9, 10, 999, 1000, 60_000)]
    assert ids == sorted(ids)


def test_new_runs_never_share_a_folder(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["20260101-000000-000aaa", "20260101-000000-000aaa", "20260101-000000-000bbb"])
    monkeypatch.setattr("absa.run_folder._new_id", lambda now: next(ids))
    first, second = new_run(storage, "x"), new_run(storage, "x")
    assert first.name.endswith("aaa")
    assert second.name.endswith("bbb")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "-x", "x" * 65, "ü", "a\n"])
def test_a_name_that_is_no_folder_name_is_refused(storage: str, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a run folder"):
        new_run(storage, name)
    assert not Path(storage).exists()


def test_a_run_is_found_by_name_prefix_latest_and_path(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = started(storage, "zebra")
    # Two runs of one millisecond have no order.
    Path(older.location).rename(Path(storage, "zebra-20200101-000000-000aaa"))
    run = started(storage, "digits")
    monkeypatch.chdir(storage)
    for reference in (
        run.name,
        "digits",
        "latest",
        run.location,
        f"{run.location}/",
        f"./{run.name}",
    ):
        assert open_run(reference, storage).location == run.location
    assert open_run(run.name, "elsewhere").location == run.location
    monkeypatch.chdir(run.location)
    assert open_run(".", "elsewhere").location == run.location
    assert not open_run("latest", storage).created


def test_an_exact_name_wins_over_a_longer_one(storage: str) -> None:
    run = started(storage)
    (Path(storage) / f"{run.name}-20990101-000000-000aaa").mkdir()
    assert open_run(run.name, storage).name == run.name


def test_an_ambiguous_prefix_lists_the_candidates(storage: str) -> None:
    names = [started(storage).name for _ in range(2)]
    with pytest.raises(CheckpointError, match="fits 2 runs") as error:
        open_run("digits", storage)
    assert all(name in str(error.value) for name in names)


def test_a_missing_run_says_what_was_looked_for_and_what_is_there(storage: str) -> None:
    with pytest.raises(CheckpointError, match=r"no run 'latest' in .*/runs; runs there: none"):
        open_run("latest", storage)
    names = [started(storage, f"job{i}").name for i in range(12)]
    with pytest.raises(CheckpointError, match=r"no run 'nope'.* and 2 more") as error:
        open_run("nope", storage)
    assert names[-1] in str(error.value)


def test_no_reference_is_no_run_even_beside_a_job_file(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(storage)
    (tmp_path / "job.yaml").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"no run ''"):
        open_run("", storage)


def test_a_folder_without_a_job_is_no_run(storage: str) -> None:
    old = started(storage)
    half = new_run(storage, "digits")
    assert open_run("latest", storage).name == old.name
    for reference in (half.location, f"{storage}/nothing/here"):
        with pytest.raises(CheckpointError, match=r"is not a run folder: it has no job.yaml"):
            open_run(reference, storage)


def test_a_run_in_which_nothing_happened_is_discarded(storage: str) -> None:
    run = started(storage)
    open_journal(run.storage, 0).close()
    run.checkpoints.create()
    assert discard(run)
    assert not Path(run.location).exists()


def test_what_holds_something_is_not_discarded(storage: str) -> None:
    with_event = started(storage)
    with open_journal(with_event.storage, 0) as journal:
        journal.append({"event": "run_started", "lineage": 0})
    with_checkpoint = started(storage)
    save_checkpoint(with_checkpoint.checkpoints, checkpoint_name(1), StateTree({}, {}), {}, {})
    with_notes = started(storage)
    Path(with_notes.location, "notes.txt").write_text("mine")
    others = open_run(started(storage).name, storage)
    for run in (with_event, with_checkpoint, with_notes, others):
        assert not discard(run)
        assert Path(run.location, "job.yaml").exists()
