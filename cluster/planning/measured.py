"""What a run's journal says of its speed, its batches and its noise."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from absa.events import Record
from absa.policy.batch_plan import BatchPlan, batch_plan
from absa.policy.update_costs import UpdateCost
from absa.signals import NoiseScale
from cluster.job import Job
from cluster.report.history import Placed, place, survivors
from cluster.views.fields import number

_FINISHED = ("epochs", "updates", "samples", "time", "target")
"""Reasons to end that leave nothing to train."""


@dataclass(frozen=True)
class Stage:
    """Part of a training that takes one batch.

    Args:
        global_batch: In samples.
        num_updates: How many.
    """

    global_batch: int
    num_updates: float


@dataclass(frozen=True, eq=False)
class Measured:
    """What a journal says.

    Args:
        costs: Of updates, in the order in which they were made, also of those that were abandoned.
        stages: The batches on the way to the weights at the end.
        noise: The gradient noise scale as it was last seen; None: never.
        micro_batch: Most samples at once through the model, as it was last; None: not recorded.
        bn_group: As updates were cut with; None: the model has no batch-norm.
        num_train: Samples of an epoch; None: not recorded.
        device: What it was trained on, in words; empty: not recorded.
        besides_s: Seconds of evaluations and of measurements of curvature.
        finished: Nothing is left to train.
    """

    costs: tuple[UpdateCost, ...]
    stages: tuple[Stage, ...]
    noise: NoiseScale | None
    micro_batch: int | None
    bn_group: int | None
    num_train: int | None
    device: str
    besides_s: float
    finished: bool

    @property
    def samples(self) -> float:
        """Samples that were trained on."""
        return sum(stage.global_batch * stage.num_updates for stage in self.stages)


def read_measured(records: Sequence[Record], job: Job) -> Measured:
    """Read a journal.

    Args:
        records: All of it.
        job: That the run was started with, resolved.
    """
    placed = place(records)
    kept = [one.record for one in survivors(placed)]
    windows = list(_windows(placed))
    bn_group = _bn_group(windows, job)
    trained = [number(record, "num_train") for record in kept]
    turns = [record for record in kept if record.get("event") in ("run_started", "run_ended")]
    return Measured(
        costs=tuple(_costs(windows, bn_group)),
        stages=tuple(_stages(kept)),
        noise=_noise(kept, job.noise_scale.confidence),
        micro_batch=windows[-1].micro_batch if windows else None,
        bn_group=bn_group,
        num_train=next((int(num) for num in reversed(trained) if num), None),
        device=next((str(r["device"]) for r in reversed(kept) if r.get("device")), ""),
        besides_s=sum(
            number(record, "seconds") or 0.0
            for record in kept
            if record.get("event") in ("evaluation", "curvature")
        ),
        finished=bool(turns) and turns[-1].get("reason") in _FINISHED,
    )


@dataclass(frozen=True)
class _Window:
    """An observation, as far as it says something of speed."""

    workers: int
    nodes: int
    global_batch: int
    micro_batch: int
    accumulation_steps: int
    num_updates: int
    update_s: float


def _windows(placed: Iterable[Placed]) -> Iterator[_Window]:
    for _, lineage in groupby(placed, key=lambda one: one.lineage):
        before = 0.0
        for one in lineage:
            update = number(one.record, "update") or 0.0
            if one.record.get("event") == "run_started":
                before = update
            elif one.record.get("event") == "observation":
                window = _window(one.record, max(1, round(update - before)))
                before = update
                if window is not None:
                    yield window


def _window(record: Record, num_updates: int) -> _Window | None:
    keys = ("workers", "global_batch", "micro_batch", "accumulation_steps", "update_s")
    found = [number(record, key) for key in keys]
    if any(value is None or value <= 0 for value in found):
        return None
    workers, batch, micro, steps, seconds = (value or 0.0 for value in found)
    nodes = int(number(record, "nodes") or 1)
    if nodes > workers:
        return None
    return _Window(int(workers), nodes, int(batch), int(micro), int(steps), num_updates, seconds)


def _bn_group(windows: Sequence[_Window], job: Job) -> int | None:
    """Return which group explains the recorded numbers of passes, for the journal does not say.

    Where both do, or neither, it is that of the job, except for networks known to have none.
    """
    with_groups, without = (
        sum(_passes(window, group) == window.accumulation_steps for window in windows)
        for group in (job.batch.bn_group, None)
    )
    if with_groups != without:
        return job.batch.bn_group if with_groups > without else None
    model = job.model
    has_none = model.norm == "group" or (model.name == "mlp" and model.norm is None)
    return None if job.task is None and has_none else job.batch.bn_group


def _passes(window: _Window, bn_group: int | None) -> int | None:
    plan = _plan(window, bn_group)
    return None if plan is None else plan.accumulation_steps


def _plan(window: _Window, bn_group: int | None) -> BatchPlan | None:
    """Return how the updates were cut; None if they cannot have been."""
    if bn_group is not None and window.micro_batch < bn_group:
        return None
    return batch_plan(
        window.global_batch, window.workers, bn_group=bn_group, most_micro=window.micro_batch
    )


def _costs(windows: Iterable[_Window], bn_group: int | None) -> Iterator[UpdateCost]:
    for window in windows:
        plan = _plan(window, bn_group)
        if plan is not None:
            load = plan.load(-(-window.workers // window.nodes))
            yield UpdateCost(load, window.update_s, window.num_updates)


def _stages(kept: Iterable[Record]) -> Iterator[Stage]:
    before, steps = 0.0, []
    for record in kept:
        samples, batch = number(record, "samples"), number(record, "global_batch")
        if record.get("event") == "observation" and samples and batch:
            steps.append((int(batch), max(samples - before, 0.0) / batch))
            before = samples
    for batch, together in groupby(steps, key=lambda step: step[0]):
        yield Stage(batch, sum(num for _, num in together))


def _noise(kept: Sequence[Record], confidence: float) -> NoiseScale | None:
    for record in reversed(kept):
        lower = number(record, "noise_lower")
        if record.get("event") == "observation" and lower is not None:
            upper = number(record, "noise_upper")
            return NoiseScale(
                value=number(record, "noise_scale"),
                lower=lower,
                upper=math.inf if upper is None else upper,
                gradient_sq=number(record, "gradient_sq") or 0.0,
                trace=number(record, "noise_trace") or 0.0,
                confidence=confidence,
                num_updates=math.nan,  # not recorded
            )
    return None
