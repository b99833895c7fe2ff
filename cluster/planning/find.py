"""From a run or a job to what is planned: what is measured, and what is to be trained."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from absa.errors import MeasurementError
from absa.journal import read_journal
from absa.policy.batch_plan import batch_plan
from absa.policy.goodput import Work
from absa.policy.throughput import ThroughputModel, Unknown
from absa.policy.throughput_fit import fit_throughput
from absa.policy.workers_that_pay import WorkerLimits
from absa.run_folder import RunFolder, open_run
from absa.stop import total_samples
from cluster.job import Job
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.planning.frontier import Frontier, make_frontier
from cluster.planning.measured import Measured, Stage, read_measured
from cluster.planning.options import Options
from cluster.planning.past import job_of, past_runs


@dataclass(frozen=True, eq=False)
class Plan:
    """A frontier and where it comes from.

    Args:
        name: Of the run or the job.
        job: What is to be trained, resolved.
        runs: What was measured, the newest first.
        model: Fitted to that.
        measured: What the newest of them says.
        stages: What is to be trained, whole.
        done: The share of it that the run has trained, in [0, 1]; None: of a job.
        most: Workers that were looked at.
        frontier: The choices.
    """

    name: str
    job: Job
    runs: tuple[RunFolder, ...]
    model: ThroughputModel
    measured: Measured
    stages: tuple[Stage, ...]
    done: float | None
    most: int
    frontier: Frontier

    @property
    def price(self) -> float | None:
        """Of an hour of a worker, or None."""
        return self.job.workers.price_per_hour


def is_job(reference: str) -> bool:
    """Return whether a job file is meant, not a run."""
    return Path(reference).suffix in (".yaml", ".yml")


def plan_of(reference: str, options: Options, storage: str) -> Plan:
    """Plan a run or a job.

    Args:
        reference: A run, as `open_run` takes it, or a job file.
        options: How far to look.
        storage: Where runs are looked for by name.

    Raises:
        InputError: There is no such run, or the job is wrong.
        MeasurementError: Nothing is known of how long updates take.
    """
    if is_job(reference):
        job = resolve(load_job(Path(reference), options.overrides))
        return _planned(_Asked(job.name, job, past_runs(job, job.storage), reference), options)
    run = open_run(reference, storage)
    job = job_of(run, options.overrides)
    return _planned(_Asked(run.name, job, [(run, job_of(run))], None), options)


@dataclass(frozen=True)
class _Asked:
    """What is to be planned, and the runs with their jobs that say how fast it is.

    ``file`` is that of a job; None: what is planned is the run itself.
    """

    name: str
    job: Job
    runs: Sequence[tuple[RunFolder, Job]]
    file: str | None


def _planned(asked: _Asked, options: Options) -> Plan:
    found = [(run, read_measured(read_journal(run.storage), job)) for run, job in asked.runs]
    found = [(run, measured) for run, measured in found if measured.costs]
    found = [(run, measured) for run, measured in found if measured.device == found[0][1].device]
    model = fit_throughput([cost for _, one in reversed(found) for cost in one.costs])
    if isinstance(model, Unknown):
        raise MeasurementError(_unknown(asked, options, model.reason))
    measured = found[0][1]
    stages = _whole(measured, asked)
    total = sum(stage.global_batch * stage.num_updates for stage in stages)
    most = options.workers or max(asked.job.workers.max or 1, 2 * model.seen.workers[1])
    return Plan(
        name=asked.name,
        job=asked.job,
        runs=tuple(run for run, _ in found),
        model=model,
        measured=measured,
        stages=stages,
        done=min(measured.samples / total, 1.0) if asked.file is None else None,
        most=most,
        frontier=make_frontier(
            model,
            stages,
            measured.noise,
            _work(stages[-1].global_batch, asked, measured),
            WorkerLimits(1, most, options.floor),
        ),
    )


def _work(batch: int, asked: _Asked, measured: Measured) -> Work:
    config = asked.job.batch
    micro = config.micro or config.initial
    if asked.file is None and measured.micro_batch is not None:
        micro = measured.micro_batch  # what fits may have been found while training
    group = None if measured.bn_group is None else config.bn_group
    return Work((batch,), config.initial, max(micro, group or 1), group)


def _whole(measured: Measured, asked: _Asked) -> tuple[Stage, ...]:
    """Return the whole training: the batches that were taken, then the last one up to its end.

    Where the end is not known in samples, it is where the run came to.
    """
    stages = tuple(stage for stage in measured.stages if stage.num_updates > 0)
    if not stages:
        stages = (Stage(asked.job.batch.initial, 1.0),)  # all that was done was abandoned
    total = None
    if measured.num_train is not None and not (asked.file is None and measured.finished):
        total = total_samples(asked.job.stop, measured.num_train)
    return stages if total is None else cut_to(stages, float(total))


def cut_to(stages: Sequence[Stage], total: float) -> tuple[Stage, ...]:
    """Return stages of so many samples in all: cut off, or the last one longer.

    Args:
        stages: At least one.
        total: Samples, above 0.
    """
    left, kept = total, []
    for stage in stages:
        num = min(stage.num_updates, left / stage.global_batch)
        left -= num * stage.global_batch
        if num > 0:
            kept.append(replace(stage, num_updates=num))
    last = kept[-1]
    more = last.num_updates + max(left, 0.0) / last.global_batch
    return (*kept[:-1], replace(last, num_updates=more))


def _unknown(asked: _Asked, options: Options, reason: str) -> str:
    """Return what is known without a measurement, and how to get one."""
    job, batch = asked.job, asked.job.batch
    group, micro = batch.bn_group, batch.micro or batch.initial
    groups = -(-batch.initial // (group or 1))
    most = min(options.workers or max(job.workers.max or 1, 2), 4)
    cuts = [
        f"{num}: {batch_plan(batch.initial, num, bn_group=group, most_micro=micro)}"
        for num in range(1, most + 1)
    ]
    looked = (
        f"{', '.join(run.name for run, _ in asked.runs[:3])} has not recorded it ({reason})"
        if asked.runs
        else f"{job.storage} holds no run of this model, data and kind of worker"
    )
    return (
        f"how long an update takes is not known: {looked}, and without it neither time nor money "
        "is. Known is how an update is cut (workers x passes x micro-batch), by workers: "
        f"{'; '.join(cuts)}; more than {groups} workers would have nothing to do. Train for a "
        "short while, best on one worker and then on two, and ask again: "
        f"absa train {asked.file or 'JOB.yaml'} --set stop.updates=200 --set workers.max=2"
    )
