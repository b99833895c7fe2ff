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
from cluster.operator import Order
from cluster.operator_line import CONTROL_FILE, OperatorLine, operator_line
from cluster.steer import steer


@pytest.fixture
def run(tmp_path) -> RunFolder:
    run = new_run(str(tmp_path), "run")
    write_job(run, "name: run\n")
    return run


class Obeys:
    """An operator's run that does whatever it is asked."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def __call__(self, order: Order) -> str:
        self.orders.append(order)
        return "so be it"


@pytest.fixture
def obeys() -> Obeys:
    return Obeys()


@pytest.fixture
def line(obeys):
    line = OperatorLine(obeys, "127.0.0.1", patience_s=30)
    yield line
    line.close()


def control(run: RunFolder) -> Path:
    return Path(run.location) / CONTROL_FILE


def say(line: OperatorLine, message: bytes) -> dict:
    with Client((line.ip, line.port), authkey=line.key) as client:
        client.send_bytes(message)
        return json.loads(client.recv_bytes())


def test_a_wish_reaches_the_run_and_the_answer_comes_back(run, obeys):
    with operator_line(obeys, "127.0.0.1", run.storage):
        answer = steer(run.location, Order(wish=2), "nowhere")

    assert obeys.orders == [Order(wish=2)]
    assert answer == f"{run.name}: so be it"


def test_a_run_is_found_by_name(run, obeys, tmp_path):
    with operator_line(obeys, "127.0.0.1", run.storage):
        steer("latest", Order(wish=3), str(tmp_path))

    assert obeys.orders == [Order(wish=3)]


def test_a_refused_wish_is_told_in_the_words_of_the_run(run):
    def refuse(order: Order) -> str:
        raise ConfigError(f"{order.wish} workers are too many")

    with (
        operator_line(refuse, "127.0.0.1", run.storage),
        pytest.raises(ConfigError, match="9 workers are too many"),
    ):
        steer(run.location, Order(wish=9), "nowhere")


def test_the_key_is_readable_for_its_owner_alone_and_goes_with_the_run(run, obeys):
    before = os.umask(0)
    try:
        with operator_line(obeys, "127.0.0.1", run.storage):
            assert stat.S_IMODE(control(run).stat().st_mode) == 0o600
            assert {path.name for path in control(run).parent.iterdir()} == {JOB_FILE, CONTROL_FILE}
    finally:
        os.umask(before)
    assert not control(run).exists()


def test_what_a_killed_driver_left_is_replaced(run, obeys):
    control(run).write_text("old")
    with operator_line(obeys, "127.0.0.1", run.storage):
        steer(run.location, Order(wish=1), "nowhere")
    assert obeys.orders == [Order(wish=1)]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"ip": 1, "port": 2, "key": 3}'])
def test_a_run_that_does_not_train_is_told_so(run, content):
    if content is not None:
        control(run).write_bytes(content)
    with pytest.raises(ClusterError, match=r"is not training .*absa train --resume"):
        steer(run.location, Order(wish=2), "nowhere")


def test_a_driver_that_was_killed_is_told_so(run, obeys):
    with operator_line(obeys, "127.0.0.1", run.storage):
        left = control(run).read_bytes()
    control(run).write_bytes(left)
    with pytest.raises(ClusterError, match="it does not answer at 127"):
        steer(run.location, Order(wish=2), "nowhere")


def test_another_process_on_the_port_gets_nothing(run, obeys, line):
    wrong = {"ip": line.ip, "port": line.port, "key": "00" * 32}
    control(run).write_text(json.dumps(wrong))
    with pytest.raises(ClusterError, match="it does not answer"):
        steer(run.location, Order(wish=2), "nowhere")
    assert obeys.orders == []


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
            steer(run.location, Order(wish=2), "nowhere")
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

    monkeypatch.setattr("cluster.steer.open_run", found)
    with pytest.raises(ConfigError, match=r"s3://bucket/run: .*say in elastic.plan"):
        steer("s3://bucket/run", Order(wish=2), "nowhere")


def test_in_an_object_store_nothing_is_said(run, obeys):
    class Bucket(ObjectStorage):
        def __init__(self) -> None:
            """Every use would fail."""

    with operator_line(obeys, "127.0.0.1", Bucket()):
        pass


def test_a_wrong_key_is_refused_and_the_next_operator_is_heard(line, obeys):
    with pytest.raises((AuthenticationError, EOFError, OSError)):
        Client((line.ip, line.port), authkey=b"wrong")

    assert say(line, b'{"wish": 2}')["ok"]
    assert obeys.orders == [Order(wish=2)]


def test_strangers_that_say_nothing_block_nobody(line, obeys):
    strangers = [socket.create_connection((line.ip, line.port)) for _ in range(8)]
    try:
        assert say(line, b'{"wish": 2}')["ok"]
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_stranger_that_says_nothing_is_cut_off(obeys):
    line = OperatorLine(obeys, "127.0.0.1", patience_s=0.05)
    with socket.create_connection((line.ip, line.port)) as stranger:
        stranger.settimeout(30)
        while stranger.recv(100):
            pass  # the challenge, then the end
    line.close()


@pytest.mark.parametrize(
    "message", [b"", b"{}", b"[2]", b'{"wish": "2"}', b'{"wish": true}', b'{"wish": 2.5}', b"\xff"]
)
def test_a_message_that_is_no_wish_is_refused(line, obeys, message):
    answer = say(line, message)

    assert not answer["ok"]
    assert '{"wish": N}' in answer["text"]
    assert obeys.orders == []


def test_a_message_without_end_ends_the_connection(line, obeys):
    with pytest.raises((EOFError, OSError)):
        say(line, b" " * 100_000)
    assert say(line, b'{"wish": 1}')["ok"]


def test_closing_ends_the_thread_and_frees_the_port(obeys):
    line = OperatorLine(obeys, "127.0.0.1")
    line.close()

    assert not line._thread.is_alive()
    with pytest.raises(OSError, match=r"."):
        socket.create_connection((line.ip, line.port), timeout=1)
