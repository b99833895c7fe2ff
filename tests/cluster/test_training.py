"""Which mode a job gets."""

import ray

from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.training import usable_mode


def job(*settings: str):
    return resolve(load_job(None, settings))


def test_workers_join_and_leave_in_place_inside_the_ray_that_is_known():
    assert usable_mode(job()) == ("in_place", None)


def test_inside_another_ray_they_do_by_a_restart_and_it_is_said_why(monkeypatch):
    monkeypatch.setattr(ray, "__version__", "3.0.0")

    mode, reason = usable_mode(job())
    assert mode == "restart"
    assert reason is not None
    assert "this is Ray 3.0.0" in reason


def test_who_asks_for_restarts_gets_them():
    assert usable_mode(job("elastic.mode=restart")) == ("restart", None)
