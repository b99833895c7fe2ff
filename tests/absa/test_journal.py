import json
import math
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from absa.errors import CheckpointError
from absa.journal import newest_lineage, open_journal, read_journal
from absa.journal_logs import SegmentLog
from absa.storage import LocalStorage

VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
RECORDS = st.lists(
    st.dictionaries(st.text().filter(lambda key: key != "lineage"), VALUES, max_size=3), max_size=4
)


@pytest.fixture(autouse=True, scope="module")
def _fast_disk() -> Iterator[None]:
    """Waiting for the disk proves nothing here and takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def append(folder: LocalStorage, lineage: int, *events: str) -> None:
    with open_journal(folder, lineage) as journal:
        for event in events:
            journal.append({"event": event, "lineage": lineage})


def events(folder: LocalStorage) -> list[str]:
    return [record["event"] for record in read_journal(folder)]


def test_a_run_without_a_journal_has_no_records(folder: LocalStorage) -> None:
    assert read_journal(folder) == []
    assert newest_lineage([]) is None


@given(records=RECORDS)
def test_records_come_back_in_order(tmp_path_factory, records) -> None:
    folder = LocalStorage(tmp_path_factory.mktemp("run"))
    records = [{**record, "lineage": 3} for record in records]
    with open_journal(folder, 3) as journal:
        for record in records:
            journal.append(record)
    finite = [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in r.items()}
        for r in records
    ]
    assert read_journal(folder) == finite


@given(records=RECORDS.filter(bool), data=st.data())
def test_a_torn_end_is_dropped_and_cut_off_at_every_offset(tmp_path_factory, records, data) -> None:
    folder = LocalStorage(tmp_path_factory.mktemp("run"))
    with open_journal(folder, 0) as journal:
        for number, _ in enumerate(records):
            journal.append({"number": number, "lineage": 0, **records[number]})
    file = folder.path / "events.jsonl"
    whole = file.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    file.write_bytes(whole[:cut])
    expected = whole[:cut].count(b"\n")
    assert len(read_journal(folder)) == expected
    append(folder, 1, "after")
    assert len(read_journal(folder)) == expected + 1
    assert read_journal(folder)[-1]["event"] == "after"


def test_every_line_is_strict_json(folder: LocalStorage) -> None:
    with open_journal(folder, 0) as journal:
        journal.append({"lineage": 0, "loss": math.nan, "metrics": {"a": [math.inf, 1.5]}})
    line = (folder.path / "events.jsonl").read_text()
    assert json.loads(line) == {"lineage": 0, "loss": None, "metrics": {"a": [None, 1.5]}}


def test_a_record_is_in_the_file_as_soon_as_it_is_appended(folder: LocalStorage) -> None:
    with open_journal(folder, 0) as journal:
        journal.append({"event": "a", "lineage": 0})
        assert events(folder) == ["a"]
        journal.sync()


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"\xff\xfe", b"[1]", b"3", b'{"event": "x"}', b'{"lineage": "0"}', b"[" * 9999],
)
def test_a_corrupt_line_is_skipped_with_a_warning_that_names_it(
    folder: LocalStorage, line: bytes
) -> None:
    append(folder, 0, "a", "b")
    file = folder.path / "events.jsonl"
    first, second, _ = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([first, line, second, b""]))
    with pytest.warns(UserWarning, match=r"events.jsonl line 2 is not a record"):
        assert events(folder) == ["a", "b"]


def test_a_writer_that_was_replaced_is_refused(folder: LocalStorage) -> None:
    append(folder, 0, "a")
    with open_journal(folder, 1) as journal:
        with pytest.raises(CheckpointError, match="this process was replaced"):
            journal.append({"event": "late", "lineage": 0})
        journal.append({"event": "restarted in place", "lineage": 2})
        with pytest.raises(CheckpointError, match="lineage 1 came after lineage 2"):
            journal.append({"event": "late", "lineage": 1})
    with pytest.raises(CheckpointError, match="lineage 2 has begun there, lineage 1 must not"):
        open_journal(folder, 1)
    assert newest_lineage(read_journal(folder)) == 2
    append(folder, 2, "b")


@pytest.mark.parametrize("lineage", [None, "0", 1.0, True])
def test_a_record_needs_a_lineage(folder: LocalStorage, lineage) -> None:
    with open_journal(folder, 0) as journal, pytest.raises(TypeError, match="integer lineage"):
        journal.append({"lineage": lineage})


def test_a_second_writer_is_refused_and_changes_nothing(folder: LocalStorage) -> None:
    with open_journal(folder, 0) as journal:
        journal.append({"event": "a", "lineage": 0})
        with (folder.path / "events.jsonl").open("ab") as file:
            file.write(b'{"torn')
        before = (folder.path / "events.jsonl").read_bytes()
        other = "import sys; from pathlib import Path; from absa.storage import LocalStorage; "
        other += "from absa.journal import open_journal; open_journal(LocalStorage(Path('.')), 1)"
        done = subprocess.run(
            [sys.executable, "-c", other], cwd=folder.path, env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "CheckpointError: . is being written by process" in done.stderr
        assert (folder.path / "events.jsonl").read_bytes() == before
        with pytest.raises(CheckpointError, match=r"is being written by process \d+ on"):
            open_journal(folder, 1)


def test_the_lock_goes_with_a_killed_writer(folder: LocalStorage) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from absa.journal import open_journal
from absa.storage import LocalStorage
journal = open_journal(LocalStorage(Path(".")), 0)
journal.append({"event": "a", "lineage": 0})
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", script], cwd=folder.path, env=environment, check=False)
    append(folder, 1, "b")
    assert events(folder) == ["a", "b"]


def test_a_failed_opening_leaves_no_lock(folder: LocalStorage) -> None:
    append(folder, 5, "a")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="lineage 5 has begun"):
            open_journal(folder, 4)
    with pytest.raises(CheckpointError, match=r"cannot write in .*No such file"):
        open_journal(folder.child("missing"), 0)


def test_a_full_disk_leaves_whole_lines(folder: LocalStorage) -> None:
    append(folder, 0, "a")
    with open_journal(folder, 0) as journal:
        size = (folder.path / "events.jsonl").stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        try:
            with pytest.raises(CheckpointError, match=r"cannot write .*; free some space"):
                journal.append({"event": "b" * 100, "lineage": 0})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        journal.append({"event": "c", "lineage": 0})
    assert events(folder) == ["a", "c"]


def test_threads_append_whole_lines(folder: LocalStorage) -> None:
    with open_journal(folder, 0) as journal:

        def work(number: int) -> None:
            for _ in range(50):
                journal.append({"event": str(number) * 50, "lineage": 0})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(events(folder)) == sorted(str(n) * 50 for n in range(4) for _ in range(50))


def test_a_closed_journal_refuses_and_closes_again(folder: LocalStorage) -> None:
    journal = open_journal(folder, 0)
    journal.close()
    journal.close()
    with pytest.raises(CheckpointError, match="is closed"):
        journal.append({"lineage": 0})


class Store:
    """A folder of an object store in memory: the `Storage` seam without a local path."""

    location = "memory://run"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.away = False

    def entries(self) -> dict[str, int | None]:
        return {name: len(data) for name, data in sorted(self.objects.items())}

    def read(self, name: str) -> bytes:
        return self.objects[name]

    def write(self, name: str, chunks) -> None:
        if self.away:
            raise CheckpointError("cannot write memory://run: away")
        self.objects[name] = b"".join(chunks)


def test_segments_roll_and_read_as_one_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("absa.journal_logs.SEGMENT_BYTES", 100)
    store = Store()
    for lineage in (0, 1):
        with open_journal(store, lineage) as journal:
            for number in range(10):
                journal.append({"event": f"{lineage}-{number}", "lineage": lineage})
                journal.sync()
    assert len(store.objects) > 4
    assert events(store) == [f"{lineage}-{n}" for lineage in (0, 1) for n in range(10)]


def test_a_checkpoint_and_the_end_are_forced_to_the_disk(tmp_path, monkeypatch) -> None:
    forced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: forced.append(events[-1]))
    events: list[str] = ["opened"]
    with open_journal(LocalStorage(tmp_path), 0) as journal:
        forced.clear()
        for event in ("observation", "checkpoint", "observation", "run_ended"):
            events.append(event)
            journal.append({"event": event, "lineage": 0})
        assert forced == ["checkpoint", "run_ended"]


def test_a_flush_needs_no_sync() -> None:
    store, written = Store(), threading.Event()
    plain = store.write
    store.write = lambda name, chunks: (plain(name, chunks), written.set())
    log = SegmentLog(store, 1, flush_s=0.01)
    log.write(b"line\n")
    assert written.wait(300)
    log.close()
    assert list(store.objects.values()) == [b"line\n"]


def test_a_store_that_is_away_loses_nothing() -> None:
    store = Store()
    journal = open_journal(store, 0)
    store.away = True
    journal.append({"event": "a", "lineage": 0})
    with pytest.raises(CheckpointError, match="away"):
        journal.sync()
    store.away = False
    journal.append({"event": "b", "lineage": 0})
    journal.close()
    assert events(store) == ["a", "b"]
    with pytest.raises(CheckpointError, match="is closed"):
        journal.append({"event": "c", "lineage": 0})


def test_two_writers_on_an_object_store_do_not_overwrite_and_the_newer_wins() -> None:
    store = Store()
    with open_journal(store, 0) as old:
        old.append({"event": "a", "lineage": 0})
        old.sync()
        with open_journal(store, 1) as new:
            new.append({"event": "b", "lineage": 1})
            new.sync()
            late = SegmentLog(store, 3)
            late.write(b'{"event": "late", "lineage": 0}\n')
            late.close()
            new.append({"event": "c", "lineage": 1})
    (
        store.objects["events-000004-00000000.jsonl"]
    ) = b'{"event": "d", "lineage": 1}\n{"event": "late", "lineage": 0}\n'
    with pytest.warns(UserWarning, match="line 2: a record of lineage 0 after 1, skipped"):
        kept = events(store)
    assert [e for e in kept if e != "late"] == ["a", "b", "c", "d"]


def test_a_journal_moves_between_forms(folder: LocalStorage) -> None:
    append(folder, 1, "local")
    folder.write("events-000001-00000000.jsonl", [b'{"event": "bucket", "lineage": 0}\n'])
    folder.write("events-000002-00000000.jsonl", [b'{"event": "bucket again", "lineage": 2}\n'])
    assert events(folder) == ["bucket", "local", "bucket again"]
