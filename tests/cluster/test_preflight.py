import pytest

from absa.errors import ClusterError
from cluster.job_rules import resolve
from cluster.load_job import parse_job
from cluster.preflight import check_machine, workers_that_fit


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)


def job(text: str):
    return resolve(parse_job(text.encode(), "job.yaml"))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("workers: {min: 5}", "workers.min"),
        ("workers: {min: 2, cpus: 3}", "workers.min"),
        ("workers: {max: 5}\nelastic: {plan: [{epochs: 0, workers: 5}]}", "elastic.plan.0.workers"),
    ],
)
def test_what_this_machine_can_never_hold_is_refused(text, path):
    with pytest.raises(ClusterError, match=rf"job.yaml:\d: {path} is .*lower {path} or") as error:
        check_machine(job(text))
    assert "this machine has 4 CPUs" in str(error.value)


def test_a_named_cluster_is_not_judged():
    named = job("workers: {min: 50}\ncluster: {address: 'head:6379'}")

    check_machine(named)
    assert workers_that_fit(named) == 50


@pytest.mark.parametrize(
    ("workers", "fit"), [("max: 2", 2), ("max: 9", 4), ("max: 9, cpus: 1.5", 2), ("cpus: 4", 1)]
)
def test_as_many_workers_fit_as_the_job_allows_and_the_machine_holds(workers, fit):
    found = job(f"workers: {{{workers}}}")

    check_machine(found)
    assert workers_that_fit(found) == fit
