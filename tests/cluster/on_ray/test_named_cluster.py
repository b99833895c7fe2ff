"""`absa train` on a Ray cluster that somebody else has started."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from elastic_commands import Elastic

pytestmark = pytest.mark.ray

PATIENCE_S = 300

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


GROUPS = """
import json, ray
ray.init(address=ADDRESS, log_to_driver=False, logging_level="ERROR")
table = ray.util.placement_group_table().values()
print(json.dumps([group["name"] for group in table if group["state"] != "REMOVED"]))
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Args:
        address: Where it is.
        head: The process that all of its processes descend from.
        environment: For processes that connect to it.
    """

    address: str
    head: psutil.Process
    environment: dict[str, str]

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the processes of actors of a class."""
        found = []
        for process in self.head.children(recursive=True):
            words = " ".join(process.cmdline())
            if words.startswith(f"ray::{name}"):
                found.append(process)
        return found

    def placement_groups(self) -> list[str]:
        """Return the names of those that hold or ask for room."""
        script = GROUPS.replace("ADDRESS", repr(self.address))
        answer = subprocess.run(
            [sys.executable, "-c", script],
            env=self.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def cluster(own_environment) -> Iterator[Cluster]:
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
    yield Cluster(
        f"127.0.0.2:{port}", psutil.Process(head.pid), own_environment(Path(folder), **TOKEN)
    )
    processes = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    for process in processes:
        process.kill()
    head.wait()
    psutil.wait_procs(processes, timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def address(cluster) -> str:
    return cluster.address


@pytest.fixture
def begin(train, own_environment, tmp_path, cluster):
    """Start a run of the witness's on the cluster, which is free again at the end."""
    runs = []

    def start(**settings: object) -> Elastic:
        settings = {"cluster.address": cluster.address, **settings}
        runs.append(Elastic(train, own_environment, tmp_path, settings, **TOKEN))
        return runs[-1]

    yield start
    for each in runs:
        each.run.stop()


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


def test_workers_that_do_not_come_are_told_of_and_a_lost_train_controller_holds_nothing(
    begin, cluster
):
    elastic = begin(**{"workers.max": 3, "elastic.start_s": 16})
    run = elastic.run
    fault = run.wait_for(lambda e: e["event"] == "fault")
    assert "1 of 3 wanted workers did not come within 16 s" in fault["what"]
    elastic.until_trained(2)
    workers = cluster.processes("RayTrainWorker")
    assert len(workers) == 2
    (controller,) = cluster.processes("_TrainController")
    controller.kill()

    assert run.finish() == 3
    (error,) = run.of("error")
    assert "the process that controls the workers was lost" in error["message"]
    assert "Traceback" not in run.errors()
    assert not psutil.wait_procs(workers, timeout=PATIENCE_S)[1]
    assert cluster.placement_groups() == []
    assert len(run.of("fault")) == 1


@pytest.mark.soak
def test_when_the_command_is_killed_nothing_of_the_run_stays_on_the_cluster(begin, cluster):
    elastic = begin()
    elastic.until_resized(1, 2)
    actors = ("RayTrainWorker", "_TrainController", "Controller")
    processes = [process for name in actors for process in cluster.processes(name)]
    assert len(processes) == 4
    elastic.run.process.kill()

    assert not psutil.wait_procs(processes, timeout=PATIENCE_S)[1]
    assert cluster.placement_groups() == []
