"""`absa train` on a Ray cluster that somebody else has started."""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.ray

TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
SMALL = [
    "--set",
    "workers.threads=1",
    "--set",
    "elastic.plan=[]",
    "--set",
    "stop.epochs=2",
    "--set",
    "schedule.warmup.epochs=1",
]


@pytest.fixture(scope="module")
def address(own_environment) -> Iterator[str]:
    """A cluster of two CPUs; its processes alone are ended, never by `ray stop`."""
    folder = tempfile.mkdtemp(prefix="absa-", dir="/tmp")
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.2", f"--port={port}", f"--temp-dir={folder}"),
        *("--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"),
        *("--min-worker-port=24000", "--max-worker-port=24200"),
    ]
    ports = {"AUTOSCALER_METRIC_PORT": "0", "DASHBOARD_METRIC_PORT": "0"}
    with Path(folder, "output").open("w+") as output:
        head = subprocess.Popen(
            command,
            env=own_environment(Path(folder), **TOKEN, **ports),
            stdout=output,
            stderr=output,
        )
        while head.poll() is None and "Ray runtime started" not in Path(output.name).read_text():
            psutil.wait_procs([], timeout=0.1)
        assert head.poll() is None, Path(output.name).read_text()
    yield f"127.0.0.2:{port}"
    processes = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    for process in processes:
        process.kill()
    head.wait()
    psutil.wait_procs(processes, timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


def test_with_the_token_a_run_ends_well(train, address):
    run = train(*SMALL, "--set", f"cluster.address={address}", **TOKEN)

    assert run.finish() == 0, run.errors()
    assert run.of("run_ended")[0]["reason"] == "epochs"


def test_without_the_right_token_nobody_is_let_in(train, address):
    wrong = TOKEN | {"RAY_AUTH_TOKEN": "b" * 64}
    run = train(*SMALL, "--set", f"cluster.address={address}", **wrong)

    assert run.finish() == 2
    assert "does not let us in" in run.of("error")[0]["message"]
    assert "RAY_AUTH_TOKEN" in run.errors()
    assert "gcs_client" not in run.errors()
    assert not (run.folder / "runs").exists()


def test_a_cluster_that_does_not_give_the_workers_is_left_after_a_while(train, address):
    more = [f"workers.{key}" for key in ("min=3", "max=3", "wait_s=3")]
    settings = [word for value in more for word in ("--set", value)]
    run = train(*SMALL, "--set", f"cluster.address={address}", *settings, **TOKEN)

    assert run.finish() == 2
    assert "did not give 3 worker(s)" in run.of("error")[0]["message"]
    assert "it has 2 CPUs" in run.of("error")[0]["message"]
    assert list((run.folder / "runs").iterdir()) == []
