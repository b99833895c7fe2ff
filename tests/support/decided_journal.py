"""Journals of runs that decide, made without training: their signals are functions of progress."""

import json
from pathlib import Path
from typing import Any

from absa.order import next_range
from absa.policy.decide import PolicyState
from absa.policy.decision import as_record
from absa.policy.standpoint import Heard, limits_under, see, settings_after
from cluster.job import Job
from cluster.job_policy import deciding
from cluster.job_rules import resolve
from cluster.load_job import dump_job, parse_job
from cluster.replaying.signals import curvature_of, noise_of

NUM_TRAIN, EVERY = 1000, 5
JOB = """\
name: decided
batch: {initial: 50, max: 400, bn_group: 50}
optimizer: {lr: 0.1}
schedule: {scaling: linear, reference_batch: 50, warmup: {kind: none}, decay: {kind: cosine}}
stop: {epochs: 8}
policy: {kind: noise_scale, ratio: 1.0}
"""


def resolved(*overrides: str) -> Job:
    """Return the job of the journals."""
    return resolve(parse_job(JOB.encode(), "job.yaml", list(overrides)))


def signals(epoch: float, stopped: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what an observation and a measurement of curvature say: both grow and fall by 2."""
    scale = 30.0 * 2.0 ** (epoch / 2)
    value = 20.0 * 2.0 ** (-epoch / 2)
    noise = {
        "noise_scale": scale,
        "noise_lower": 0.8 * scale,
        "noise_upper": 1.5 * scale,
        "noise_trace": 1.0,
        "gradient_sq": 1 / scale,
    }
    upper = 1.05 * value if stopped == "tolerance" else 4.0 * value
    curvature = {
        "value": value,
        "values": [value],
        "residuals": [0.01],
        "lower": value,
        "upper": upper,
        "failure_probability": 0.001,
        "stopped": stopped,
        "num_products": 5,
        "num_samples": 64,
        "seconds": 0.01,
    }
    return noise, curvature


def journal(
    job: Job, *, stopped: str = "tolerance", until: float = 8.0, lineage: int = 0
) -> list[dict[str, Any]]:
    """Return the records of a run: what the loop does, on one rank, with nothing trained."""
    policy, known, heard = deciding(job, NUM_TRAIN), PolicyState(), Heard()
    settings, coming, update, samples = policy.start, None, 0, 0
    records: list[dict[str, Any]] = []

    def record(event: str, **fields: Any) -> None:
        stamp = {"time": float(update), "lineage": lineage, "generation": 0}
        place = {"update": update, "samples": samples}
        records.append({"event": event, **stamp, **place, **fields})

    record("run_started", num_train=NUM_TRAIN, policy=job.policy.kind, workers=1)
    while samples < until * NUM_TRAIN:
        _, start, stop = next_range(samples, settings.global_batch, NUM_TRAIN)
        samples, update = samples + stop - start, update + 1
        if coming is not None:
            decision, known = coming
            coming = None
            if decision.changes:
                record("decision", **as_record(decision))
                settings = settings_after(settings, decision, samples)
        if update % EVERY:
            continue
        # Without a question there is nothing to stop early for: so the first reference is exact.
        how = "tolerance" if samples <= 2 * NUM_TRAIN else stopped
        noise, curvature = signals(samples / NUM_TRAIN, how)
        record("curvature", **curvature)
        record("observation", loss=1.0, global_batch=settings.global_batch, workers=1, **noise)
        heard = Heard(1.0, noise_of(noise, 0.9), curvature_of(curvature), samples)
        seen = see(policy.course, settings, heard, samples, update)
        after, decision = policy.decider.decide(known, seen, limits_under(settings, policy.limits))
        if decision.changes or after != known:
            coming = decision, after
        if not decision.changes:
            record("decision", **as_record(decision))
    return records


def resume(records: list[dict[str, Any]], at: int, beyond: int) -> list[dict[str, Any]]:
    """Return the records of a run that trained to ``beyond`` samples and went on from ``at``."""
    before = [r for r in records if r["samples"] <= beyond]
    after = [{**r, "lineage": 1} for r in records if r["samples"] > at]
    update = max(r["update"] for r in records if r["samples"] <= at)
    started = {**records[0], "lineage": 1, "update": update, "samples": at}
    return [*before, {**started, "resumed_from": "update-00000007"}, *after]


def ended(records: list[dict[str, Any]], reason: str) -> list[dict[str, Any]]:
    """Return the records with an end."""
    return [*records, {**records[-1], "event": "run_ended", "reason": reason}]


def write_run(folder: Path, records: list[dict[str, Any]], job: Job, torn: str = "") -> Path:
    """Make a run folder."""
    run = folder / "decided-20260101-000000-000abc"
    run.mkdir(parents=True)
    (run / "job.yaml").write_text(dump_job(job))
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (run / "events.jsonl").write_text(lines + torn)
    return run
