import os
import tempfile
from pathlib import Path

import pytest

from absa.errors import CheckpointError, ConfigError
from absa.storage import LocalStorage, open_storage


def test_a_written_file_reads_back_and_is_listed_with_its_size(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "a" / "b")
    storage.write("x.bin", [b"12", bytearray(b"3"), memoryview(b"45")])
    assert storage.read("x.bin") == b"12345"
    assert storage.child("c").create()
    assert storage.entries() == {"c": None, "x.bin": 5}


def test_a_missing_folder_has_no_entries(tmp_path: Path) -> None:
    assert LocalStorage(tmp_path / "none").entries() == {}


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("x", [b"old"])

    def chunks():
        yield b"half of the new"
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match=r"No space left on device; free some space"):
        storage.write("x", chunks())
    assert storage.read("x") == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_creating_a_folder_succeeds_once(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "new" / "run")
    assert [storage.create(), storage.create()] == [True, False]


def test_removing_is_idempotent_and_does_not_follow_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    storage = LocalStorage(tmp_path / "s")
    storage.child("folder").write("x", [b"1"])
    (tmp_path / "s" / "link").symlink_to(outside)
    for name in ("folder", "link", "link", "never"):
        storage.remove(name)
    assert storage.entries() == {}
    assert (outside / "precious").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", ".hidden", "a\0b"])
def test_no_name_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    storage = LocalStorage(tmp_path)
    for use in (storage.child, storage.read, storage.remove, lambda n: storage.write(n, [])):
        with pytest.raises(CheckpointError, match="not the name of a file"):
            use(name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*/x: No such file"):
        LocalStorage(tmp_path).read("x")


def test_a_file_in_the_place_of_a_folder_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot create the folder .*set storage to a folder"):
        open_storage(f"{tmp_path}/file").child("run").create()


def test_a_folder_without_permission_is_a_config_error() -> None:
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o555)
        # Permissions do not bind root, who runs the tests in containers.
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(ConfigError, match=r"Permission denied; set storage to a folder"):
                open_storage(root).child("run").create()
            with pytest.raises(CheckpointError, match=r"Permission denied; set storage"):
                open_storage(root).write("x", [b""])
        finally:
            os.seteuid(before)
            os.chmod(root, 0o755)


@pytest.mark.parametrize("location", ["", "  ", "http://host/x", "hdfs://host/x", "file:///"])
def test_an_unknown_place_is_a_config_error(location: str) -> None:
    with pytest.raises(ConfigError, match=r"give a local path, s3://bucket/path or gs://"):
        open_storage(location)


def test_local_locations_open_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_storage("runs").location == f"{tmp_path}/runs"
    assert open_storage(f"file://{tmp_path}/a%20b").location == f"{tmp_path}/a b"
    child = open_storage("runs").child("x")
    assert open_storage(child.location) == child
