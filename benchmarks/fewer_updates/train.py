"""Trains one job in this process, without Ray, and keeps what is worth keeping of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from absa.collective import ALONE
from absa.errors import DivergenceError
from absa.host_memory import keep_freed_memory
from absa.loop import Loop
from absa.outside import Outside
from absa.rules import Rules
from benchmarks.fewer_updates.outcome import Outcome, Stretch, outcome_of
from benchmarks.fewer_updates.replayed import Course, Replayed
from benchmarks.nowhere import Kept
from cluster.compose import compose
from cluster.job import Job
from cluster.job_rules import resolve


@dataclass(frozen=True)
class Work:
    """What is to be trained; it travels to another process.

    Args:
        job: As a job file has it; what it leaves out is as in any job.
        course: What the batch follows, in place of the job's policy; None: that policy.
    """

    job: Mapping[str, Any]
    course: Course | None = None


def prepare() -> None:
    """Set up a process that is there to train: one thread, as several train side by side."""
    torch.set_num_threads(1)
    keep_freed_memory()


def train(work: Work) -> Outcome:
    """Train to the end, on a GPU if there is one.

    Raises:
        InputError: The data are missing, or the job cannot be used.
    """
    job = resolve(Job.model_validate(work.job))
    composed = compose(job, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    kept, start = Kept(), composed.start.settings
    loop = Loop(
        composed.replica,
        composed.instruments,
        _rules(composed.rules, work.course),
        Outside(ALONE, kept, kept),
        composed.start,
    )
    try:
        loop.train({})
    except DivergenceError as error:
        print(f"seed {job.seed}: {error}")
    first = Stretch(0, 0, start.global_batch, start.adversarial_ratio)
    listens = job.noise_scale.every_updates is not None
    probes = job.noise_scale.probe_every_updates if listens else None
    return outcome_of(kept.records, first, probes)


def _rules(rules: Rules, course: Course | None) -> Rules:
    if course is None:
        return rules
    assert rules.decider is not None, "a policy's rule for the learning rate holds here too"
    return replace(rules, decider=replace(rules.decider, kind="replayed", policy=Replayed(course)))
