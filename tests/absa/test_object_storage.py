import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load_file

from absa.checkpoint import checkpoint_name, load_checkpoint, newest, save_checkpoint
from absa.errors import CheckpointError, ConfigError
from absa.export.weights import export_weights
from absa.journal import open_journal, read_journal
from absa.object_storage import ObjectStorage
from absa.retention import prune
from absa.run_folder import JOB_FILE, discard, new_run, open_run, write_job
from absa.state import StateTree
from absa.storage import open_storage

SERVER = """
import logging, os, sys
from moto.server import ThreadedMotoServer
logging.disable()
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        port = process.stdout.readline().strip()
        assert port, "moto's S3 server did not start: pip install 'moto[s3,server]'"
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")):
            pass
        yield url
        process.stdin.close()


@pytest.fixture
def runs(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("REGION", "here")):
        monkeypatch.setenv(f"AWS_{name}", value)
    return f"s3://bucket/{request.node.name}?endpoint_override={server}&scheme=http"


def test_a_run_lives_in_a_bucket(runs: str, tmp_path, monkeypatch) -> None:
    run = new_run(runs, "digits")
    write_job(run, "name: digits\n")
    with open_journal(run.storage, 0) as journal:
        journal.append({"event": "run_started", "lineage": 0})
    weight = torch.randn(3, 4)
    tree = StateTree({"model/weight": weight}, {"step": 7})
    for update in (1, 2, 3):
        save_checkpoint(run.checkpoints, checkpoint_name(update), tree, {}, {})
    assert prune(run.checkpoints, 1, keep_best=False) == ["update-00000001", "update-00000002"]

    found = open_run("latest", runs)
    assert open_run(run.location, "elsewhere").location == found.location == run.location
    assert found.storage.read(JOB_FILE) == b"name: digits\n"
    with open_journal(found.storage, 1) as journal:
        journal.append({"event": "run_ended", "lineage": 1})
    assert [r["event"] for r in read_journal(found.storage)] == ["run_started", "run_ended"]
    assert newest(found.checkpoints) == "update-00000003"
    loaded, _, _ = load_checkpoint(found.checkpoints, "update-00000003")
    assert torch.equal(loaded.tensors["model/weight"], weight)
    monkeypatch.chdir(tmp_path)
    path = export_weights("digits", storage=runs)
    assert path == tmp_path / "weights.safetensors"
    assert torch.equal(load_file(path)["weight"], weight)


def test_the_endpoint_comes_from_the_environment(runs: str, server: str, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    open_storage(runs).write("x", [b"1"])
    assert open_storage(runs.partition("?")[0]).read("x") == b"1"


def test_a_write_that_fails_leaves_no_object(runs: str) -> None:
    storage = open_storage(runs)

    def chunks():
        yield b"half"
        raise ValueError("the source failed")

    with pytest.raises(ValueError, match="the source failed"):
        storage.write("x", chunks())
    assert storage.entries() == {}


@pytest.mark.cpu_heavy
def test_large_files_go_up_in_parts(runs: str) -> None:
    storage = open_storage(runs)
    storage.write("x", [bytes([i]) * (4 << 20) for i in range(3)])
    data = storage.read("x")
    assert [data.count(bytes([i])) for i in range(3)] == [4 << 20] * 3
    assert storage.entries() == {"x": 12 << 20}


def test_creating_removing_and_missing_names(runs: str) -> None:
    folder = open_storage(runs).child("folder")
    folder.write("x", [b"1"])
    assert not folder.create()
    for name in ("folder", "folder"):
        open_storage(runs).remove(name)
    assert open_storage(runs).child("folder").entries() == {}
    with pytest.raises(CheckpointError, match=r"cannot read s3://bucket/.*/nope"):
        open_storage(runs).read("nope")


def test_a_failed_start_leaves_nothing(runs: str) -> None:
    run = new_run(runs, "digits")
    write_job(run, "{}\n")
    open_journal(run.storage, 0).close()
    assert discard(run)
    assert open_storage(runs).entries() == {}


def test_a_missing_bucket_is_a_config_error(runs: str) -> None:
    with pytest.raises(ConfigError, match=r"nobucket/runs.*create the bucket first"):
        new_run(runs.replace("bucket/", "nobucket/runs/"), "digits")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://key:secret@bucket/x", "a key in the URL would be stored"),
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("s3://bucket/x?endpoint=y", "is not understood: Unexpected query parameter"),
    ],
)
def test_a_wrong_url_is_a_config_error_that_shows_no_secret(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        open_storage(url)
    assert "secret" not in str(error.value)


def test_a_google_url_opens_without_the_network() -> None:
    storage = open_storage("gs://anonymous@bucket/runs/")
    assert isinstance(storage, ObjectStorage)
    assert storage.child("x").path == "bucket/runs/x"
    assert storage.child("x").location == "gs://anonymous@bucket/runs/x"
