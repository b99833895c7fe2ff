"""A run's job, which has every default written out, with another choice."""

import pytest

from absa.errors import ConfigError
from cluster.job_rules import resolve
from cluster.load_job import dump_job, load_job
from cluster.run_job import parse_run_job

RUN = dump_job(resolve(load_job(None))).encode()


def changed(*overrides):
    return parse_run_job(RUN, "run/job.yaml", overrides)


@pytest.mark.parametrize("kind", ["fixed", "clock", "abs", "absa", "noise_scale", "hybrid"])
def test_another_policy_may_be_chosen(kind):
    assert resolve(changed(f"policy.kind={kind}")).policy.kind == kind


def test_choices_below_a_section_and_others_may_change_too():
    job = resolve(changed("optimizer.name=adamw", "schedule.decay.kind=polynomial"))
    assert (job.optimizer.name, job.optimizer.momentum) == ("adamw", None)
    assert (job.schedule.decay.power, job.schedule.decay.end_fraction) == (2.0, None)


def test_what_was_asked_for_and_is_not_read_is_refused_as_ever():
    with pytest.raises(ConfigError, match=r"ratio = 2.* is not read"):
        changed("policy.kind=abs", "policy.ratio=2")


def test_options_of_a_choice_that_stays_are_kept():
    again = parse_run_job(
        dump_job(resolve(changed("policy.ratio=0.5"))).encode(), "job.yaml", ["policy.kind=hybrid"]
    )
    assert again.policy.ratio == 0.5
