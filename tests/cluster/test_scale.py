"""Both ends of the operator's line, over a real socket."""

import json
import os
import socket
import stat
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import pytest

from absa.errors import ClusterError, ConfigError
from absa.object_storage import ObjectStorage
from absa.run_folder import JOB_FILE, RunFolder, new_run, write_job
from cluster.operator_line import CONTROL_FILE, OperatorLine, operator_line
from cluster.scale import scale


@pytest.fixture
def run(tmp_path) -> RunFolder:
    run = new_run(str(tmp_path), "run")
    write_job(run, "name: run\n")
    return run


@pytest.fixture
def wishes() -> list[int]:
    return []


@pytest.fixture
def line(wishes):
    line = OperatorLine(wishes.append, "127.0.0.1", patience_s=30)
    yield line
    line.close()


def control(run: RunFolder) -> Path:
    return Path(run.location) / CONTROL_FILE


def say(line: OperatorLine, message: bytes) -> dict:
    with Client((line.ip, line.port), authkey=line.key) as client:
        client.send_bytes(message)
        return json.loads(client.recv_bytes())


def test_a_wish_reaches_the_run_and_the_answer_comes_back(run, wishes):
    with operator_line(wishes.append, "127.0.0.1", run.storage):
        answer = scale(run.location, 2, "nowhere")

    assert wishes == [2]
    assert answer == f"{run.name}: 2 worker(s) are wanted from now on"


def test_a_run_is_found_by_name(run, wishes, tmp_path):
    with operator_line(wishes.append, "127.0.0.1", run.storage):
        scale("latest", 3, str(tmp_path))

    assert wishes == [3]


def test_a_refused_wish_is_told_in_the_words_of_the_run(run):
    def refuse(workers: int) -> None:
        raise ConfigError(f"{workers} workers are too many")

    with (
        operator_line(refuse, "127.0.0.1", run.storage),
        pytest.raises(ConfigError, match="9 workers are too many"),
    ):
        scale(run.location, 9, "nowhere")


def test_the_key_is_readable_for_its_owner_alone_and_goes_with_the_run(run, wishes):
    before = os.umask(0)
    try:
        with operator_line(wishes.append, "127.0.0.1", run.storage):
            assert stat.S_IMODE(control(run).stat().st_mode) == 0o600
            assert {path.name for path in control(run).parent.iterdir()} == {JOB_FILE, CONTROL_FILE}
    finally:
        os.umask(before)
    assert not control(run).exists()


def test_what_a_killed_driver_left_is_replaced(run, wishes):
    control(run).write_text("old")
    with operator_line(wishes.append, "127.0.0.1", run.storage):
        scale(run.location, 1, "nowhere")
    assert wishes == [1]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"ip": 1, "port": 2, "key": 3}'])
def test_a_run_that_does_not_train_is_told_so(run, content):
    if content is not None:
        control(run).write_bytes(content)
    with pytest.raises(ClusterError, match=r"is not training .*absa train --resume"):
        scale(run.location, 2, "nowhere")


def test_a_driver_that_was_killed_is_told_so(run, wishes):
    with operator_line(wishes.append, "127.0.0.1", run.storage):
        left = control(run).read_bytes()
    control(run).write_bytes(left)
    with pytest.raises(ClusterError, match="it does not answer at 127"):
        scale(run.location, 2, "nowhere")


def test_another_process_on_the_port_gets_nothing(run, wishes, line):
    wrong = {"ip": line.ip, "port": line.port, "key": "00" * 32}
    control(run).write_text(json.dumps(wrong))
    with pytest.raises(ClusterError, match="it does not answer"):
        scale(run.location, 2, "nowhere")
    assert wishes == []


def test_a_process_that_speaks_something_else_is_no_run(run):
    def greet(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"\0\0\0\5hello")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=greet, args=(server,))
        thread.start()
        wrong = {"ip": "127.0.0.1", "port": server.getsockname()[1], "key": "00" * 32}
        control(run).write_text(json.dumps(wrong))
        with pytest.raises(ClusterError, match="it does not answer"):
            scale(run.location, 2, "nowhere")
        thread.join()


def test_a_run_in_an_object_store_is_refused_with_a_way_out(run, monkeypatch):
    class Bucket(ObjectStorage):
        def __init__(self) -> None:
            """Nothing is reached."""

        location = "s3://bucket/run"

        def child(self, name):
            return self

    def found(reference, storage):
        return RunFolder("run", Bucket())

    monkeypatch.setattr("cluster.scale.open_run", found)
    with pytest.raises(ConfigError, match=r"s3://bucket/run: .*say in elastic.plan"):
        scale("s3://bucket/run", 2, "nowhere")


def test_in_an_object_store_nothing_is_said(run, wishes):
    class Bucket(ObjectStorage):
        def __init__(self) -> None:
            """Every use would fail."""

    with operator_line(wishes.append, "127.0.0.1", Bucket()):
        pass


def test_a_wrong_key_is_refused_and_the_next_operator_is_heard(line, wishes):
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client((line.ip, line.port), authkey=b"wrong")

    assert say(line, b'{"wish": 2}')["ok"]
    assert wishes == [2]


def test_strangers_that_say_nothing_block_nobody(line, wishes):
    strangers = [socket.create_connection((line.ip, line.port)) for _ in range(8)]
    try:
        assert say(line, b'{"wish": 2}')["ok"]
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_stranger_that_says_nothing_is_cut_off(wishes):
    line = OperatorLine(wishes.append, "127.0.0.1", patience_s=0.05)
    with socket.create_connection((line.ip, line.port)) as stranger:
        stranger.settimeout(30)
        while stranger.recv(100):
            pass  # the challenge, then the end
    line.close()


@pytest.mark.parametrize(
    "message", [b"", b"{}", b"[2]", b'{"wish": "2"}', b'{"wish": true}', b'{"wish": 2.5}', b"\xff"]
)
def test_a_message_that_is_no_wish_is_refused(line, wishes, message):
    answer = say(line, message)

    assert not answer["ok"]
    assert '{"wish": N}' in answer["text"]
    assert wishes == []


def test_a_message_without_end_ends_the_connection(line, wishes):
    with pytest.raises((EOFError, OSError)):
        say(line, b" " * 100_000)
    assert say(line, b'{"wish": 1}')["ok"]


def test_closing_ends_the_thread_and_frees_the_port(wishes):
    line = OperatorLine(wishes.append, "127.0.0.1")
    line.close()

    assert not line._thread.is_alive()
    with pytest.raises(OSError, match=r"."):
        socket.create_connection((line.ip, line.port), timeout=1)
