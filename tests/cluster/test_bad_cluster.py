import os
import socket

import pytest

from absa.errors import ClusterError, ConfigError
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.preflight import check_machine
from cluster.ray_session import ray_session


def job(*overrides: str):
    return resolve(load_job(None, overrides))


def test_more_workers_than_cores_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    check_machine(job("workers.min=2"))
    with pytest.raises(ClusterError, match=r"workers.min=3: .*has 2 CPUs: at most 2 such workers"):
        check_machine(job("workers.min=3", "workers.max=3"))


def test_a_gpu_that_is_not_there_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ClusterError, match="this machine has 0 GPUs"):
        check_machine(job("workers.gpus=1"))


def test_a_named_cluster_is_asked_itself(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    check_machine(job("workers.min=64", "workers.max=64", "cluster.address=h:1"))


def test_an_address_where_nothing_answers_is_named_at_once():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match=f"nothing answers at {address}"),
            ray_session(job(f"cluster.address={address}")),
        ):
            pass


@pytest.mark.parametrize("address", ["auto", "local", "ray://h:10001", "h:", ":6379", "h:port"])
def test_an_address_is_host_and_port(address):
    with (
        pytest.raises(ConfigError, match="must be HOST:PORT"),
        ray_session(job(f"cluster.address='{address}'")),
    ):
        pass
