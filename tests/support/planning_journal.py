"""Journals whose update times known parameters made."""

import math
from typing import Any

import numpy as np

from absa.policy.batch_plan import batch_plan
from absa.policy.throughput import update_seconds
from cluster.job import Job
from cluster.job_rules import resolve
from cluster.load_job import parse_job

NUM_TRAIN, EPOCHS = 6400, 20
TRUE = (0.002, 0.0004, 0.004, 0.001, 0.01, 0.002, 0.001, 1.2)
JOB = """\
name: known
data: {name: digits}
model: {name: small_cnn, norm: batch}
batch: {initial: 64, max: 1024, micro: 128, bn_group: 32}
stop: {epochs: 20}
workers: {min: 1, max: 2}
"""


def seconds(batch: int, workers: int, micro: int = 128, group: int | None = 32) -> float:
    load = batch_plan(batch, workers, bn_group=group, most_micro=micro).load()
    return float(update_seconds(np.array([TRUE]), [load])[0, 0])


def journal(
    windows: list[tuple[int, int]], *, seed: int = 0, ended: str | None = None
) -> list[dict[str, Any]]:
    """A record for each pair of batch and workers, of half an epoch each."""
    random = np.random.default_rng(seed)
    at = {"lineage": 0, "generation": 0}
    records: list[dict[str, Any]] = [
        {"event": "run_started", "time": 0.0, **at, "update": 0, "samples": 0,
         "num_train": NUM_TRAIN, "workers": windows[0][1], "total_samples": EPOCHS * NUM_TRAIN}
    ]  # fmt: skip
    update = samples = 0
    for batch, workers in windows:
        update, samples = update + NUM_TRAIN // 2 // batch, samples + NUM_TRAIN // 2
        plan = batch_plan(batch, workers, bn_group=32, most_micro=128)
        records.append(
            {"event": "observation", "time": float(update), **at, "update": update,
             "samples": samples, "loss": 1.0, "global_batch": batch, "micro_batch": 128,
             "accumulation_steps": plan.accumulation_steps, "workers": workers,
             "update_s": seconds(batch, workers) * math.exp(0.03 * random.standard_normal()),
             "noise_scale": 500.0, "noise_lower": 400.0, "noise_upper": 650.0,
             "noise_trace": 50.0, "gradient_sq": 0.1}
        )  # fmt: skip
    place = {"update": update, "samples": samples}
    records.append({"event": "evaluation", "time": update, **at, **place, "seconds": 3.0})
    if ended is not None:
        records.append({"event": "run_ended", "time": update, **at, **place, "reason": ended})
    return records


GROWING = [*[(64, 1)] * 4, *[(64, 2)] * 4, *[(256, 2)] * 4, *[(256, 1)] * 4, *[(1024, 2)] * 4]


def resolved(*overrides: str) -> Job:
    """Return the job of the journals."""
    return resolve(parse_job(JOB.encode(), "job.yaml", ["model.norm=null", *overrides]))
