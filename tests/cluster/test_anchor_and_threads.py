import os

import pytest

from cluster.anchor import anchored
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.threads import num_threads


def job(*overrides: str):
    return resolve(load_job(None, overrides))


def test_a_relative_data_root_is_written_out(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert anchored(job("data.name=mnist", "data.root=here")).data.root == str(tmp_path / "here")


def test_the_root_of_the_environment_is_written_out(monkeypatch):
    monkeypatch.setenv("ABSA_DATA", "/somewhere")

    assert anchored(job("data.name=mnist")).data.root == "/somewhere"
    assert anchored(job("data.name=mnist", "data.root=/own")).data.root == "/own"


def test_digits_need_no_root(monkeypatch):
    monkeypatch.setenv("ABSA_DATA", "/somewhere")

    assert anchored(job()).data.root is None


@pytest.mark.parametrize(
    ("cores", "most", "here", "threads"), [(8, 2, 1, 4), (8, 1, 2, 4), (2, 4, 1, 1), (9, 2, 2, 4)]
)
def test_on_this_machine_threads_are_the_share_of_the_largest_group(
    monkeypatch, cores, most, here, threads
):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    wanted = job(f"workers.max={most}", "workers.threads=null")

    assert num_threads(wanted, here) == threads


def test_on_a_cluster_threads_are_the_share_of_the_machine(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    wanted = job("workers.max=8", "cluster.address=h:1", "workers.threads=null")

    assert num_threads(wanted, 2) == 4


def test_threads_that_were_asked_for_are_taken():
    assert num_threads(job("workers.threads=3"), 1) == 3
