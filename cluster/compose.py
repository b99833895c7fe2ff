"""Build what a job describes: the task, the replica of one rank, and the rules of the loop."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from absa.adversary.inputs import perturbable
from absa.curvature.build import build_probe, vectors_for
from absa.curvature.probe import CurvatureProbe
from absa.curvature.trial import why_not
from absa.data.map_style import as_source
from absa.data.resident import keep_on_device
from absa.errors import ConfigError, TaskError
from absa.events import Record
from absa.instruments import Instruments, NoiseMeter
from absa.models.conversion import convert_batch_norm
from absa.models.ghost_batch_norm import batch_norms
from absa.models.running_statistics import RunningStatistics
from absa.noise_scale.average import NoiseWindow
from absa.noise_scale.groups import layer_groups
from absa.optim.build import build_optimizer
from absa.order import SampleOrder
from absa.progress import Progress
from absa.rules import Rules
from absa.run_state import RunState
from absa.stop import total_samples
from absa.task import Source, Task
from absa.tasks.check import check_task
from absa.tasks.image_classification import ImageClassification
from absa.tasks.load import load_task
from absa.update.replica import Replica, UpdateOptions, to_device
from cluster.job import Job
from cluster.job_policy import check_batch, deciding, start_settings
from cluster.job_rules import check_with_data
from cluster.placed import placed

IMAGE_SHARE = 4
"""Images may take the fourth part of a GPU's free memory; the rest is the model's."""


@dataclass(frozen=True)
class Composed:
    """What one rank needs to enter the loop."""

    replica: Replica
    instruments: Instruments
    rules: Rules
    start: RunState

    @property
    def data(self) -> list[object]:
        """What every worker must see alike: the sizes of the data sets, and the metrics."""
        instruments = self.instruments
        sizes = [len(self.replica.train), len(instruments.evaluation)]
        return [*sizes, *instruments.metric_names, instruments.curvature is not None]


def compose(job: Job, device: torch.device) -> Composed:
    """Build everything a resolved job describes; the same on every rank.

    Raises:
        InputError: The task, its data or the job cannot be used.
    """
    with placed(job, _data_key(job)):
        task = build_task(job)
        train, evaluation = _sources(task, device)
    check_with_data(job, len(train))
    check_batch(job, len(train))
    with placed(job, "schedule.decay.kind"):
        rules = _rules(job, len(train))
    torch.manual_seed(job.seed)
    with placed(job, model_key(job)):
        model = task.build_model()
        if isinstance(model, torch.nn.Module):
            model = model.to(device)
        metric_names = _check_task(task, model, train, device)
    _check_target(job, metric_names)
    assert job.batch.bn_group is not None
    model = convert_batch_norm(model, job.batch.bn_group)
    replica = _replica(job, task, model, train, device)
    probe, missing = _probe(job, replica)
    if probe is not None:
        replica = replace(replica, signals=vectors_for(job.curvature, replica))
    instruments = Instruments(evaluation, metric_names, probe, _noise(job, replica), missing)
    return Composed(replica, instruments, rules, _start(job, task))


def _replica(
    job: Job, task: Task, model: torch.nn.Module, train: Source, device: torch.device
) -> Replica:
    return Replica(
        task=task,
        model=model,
        train=train,
        order=SampleOrder(job.seed, len(train)),
        optimizer=build_optimizer(job.optimizer, model),
        parameters=[p for p in model.parameters() if p.requires_grad],
        statistics=RunningStatistics(model),
        device=device,
        options=UpdateOptions(
            bn_group=job.batch.bn_group if batch_norms(model) else None,
            precision=job.precision,
            clip_norm=job.clip_norm,
            eps=job.adversary.eps,
        ),
    )


def _probe(job: Job, replica: Replica) -> tuple[CurvatureProbe | None, tuple[str, ...]]:
    """Return how the run measures its curvature; if that cannot be done, why not."""
    assert job.batch.micro is not None
    with placed(job, "curvature.backend"):
        probe = build_probe(
            job.curvature, job.seed, len(replica.train), replica.device, job.batch.micro
        )
    reason = None if probe is None else why_not(probe, replica)
    if reason is None:
        return probe, ()
    advice = "curvature.every_epochs: null turns it off"
    return None, (f"the curvature of this model cannot be measured: {reason}; {advice}",)


def _noise(job: Job, replica: Replica) -> NoiseMeter | None:
    if job.noise_scale.every_updates is None:
        return None
    num_train = len(replica.train)
    window = job.noise_scale.window(num_train, job.batch.initial)
    names = [name for name, p in replica.model.named_parameters() if p.requires_grad]
    groups = layer_groups(names)
    return NoiseMeter(NoiseWindow(window, num_train, groups), job.noise_scale.confidence)


def build_task(job: Job) -> Task:
    """Return the job's own task, or image classification on its data and model sections."""
    if job.task is not None:
        return load_task(job.task.use, job.task.args)
    return ImageClassification(data=job.data, model=job.model, seed=job.seed)


def _source(data: object, device: torch.device) -> Source:
    """Return the data as a source, its images on the device if that is a GPU with room for them."""
    source = as_source(data)
    if device.type != "cuda":
        return source
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return keep_on_device(source, device, free_bytes // IMAGE_SHARE)


def model_key(job: Job) -> str:
    """Return the key of the job that names the model, to blame for what it does."""
    return "model.name" if job.task is None else "task.use"


def describe(composed: Composed, job: Job, world_size: int) -> Record:
    """Return what a run says of itself when it starts."""
    replica = composed.replica
    return {
        "name": job.name,
        "task": job.task.use if job.task else "image_classification",
        "model": type(replica.model).__name__ if job.task else job.model.name,
        "num_parameters": sum(p.numel() for p in replica.parameters),
        "num_train": len(replica.train),
        "num_evaluation": len(composed.instruments.evaluation),
        "workers": world_size,
        "device": str(replica.device),
        "threads": torch.get_num_threads(),
        "total_samples": total_samples(job.stop, len(replica.train)),
        "policy": job.policy.kind,
    }


def _data_key(job: Job) -> str:
    if job.task is not None:
        return "task.use"
    return "data.name" if job.data.root is None else "data.root"


def _sources(task: Task, device: torch.device) -> tuple[Source, Source]:
    datasets: object = task.datasets()
    if not (hasattr(datasets, "train") and hasattr(datasets, "evaluation")):
        raise TaskError(
            f"task.datasets returned a {type(datasets).__name__}; it must return "
            "absa.Datasets(train=..., evaluation=...)"
        )
    return _source(datasets.train, device), _source(datasets.evaluation, device)


def _check_task(
    task: Task, model: torch.nn.Module, train: Source, device: torch.device
) -> tuple[str, ...]:
    """Try the task on the first samples; return the names of its metrics."""
    first = np.arange(min(len(train), 8), dtype=np.int64)
    batch = train.transform(to_device(train.fetch(first, None), device))
    return check_task(task, model, batch)


def _rules(job: Job, num_train: int) -> Rules:
    policy = deciding(job, num_train)
    return Rules(
        learning_rate=policy.course.learning_rate,
        stop=job.stop,
        evaluate_samples=max(round(job.evaluate.every_epochs * num_train), 1),
        evaluate_batch=job.evaluate.batch,
        observe_updates=job.observe.every_updates,
        checkpoint_samples=_samples(job.checkpoint.every_epochs, num_train),
        checkpoint_s=job.checkpoint.every_s,
        keep_best=job.checkpoint.keep_best,
        max_skipped=job.max_skipped,
        noise_updates=job.noise_scale.every_updates,
        probe_updates=job.noise_scale.probe_every_updates,
        curvature_samples=_samples(job.curvature.every_epochs, num_train),
        curvature_share=job.curvature.max_share,
        decider=policy.decider,
        limits=policy.limits,
    )


def _samples(epochs: float | None, num_train: int) -> int | None:
    return None if epochs is None else max(round(epochs * num_train), 1)


def _start(job: Job, task: Task) -> RunState:
    settings = start_settings(job)
    if settings.adversarial_ratio > 0:
        with placed(job, "policy.kind"):
            perturbable(task)
    return RunState(Progress(), settings)


def _check_target(job: Job, metric_names: tuple[str, ...]) -> None:
    if job.stop.target_accuracy is not None and "accuracy" not in metric_names:
        raise ConfigError(
            f"{job.place('stop.target_accuracy')}: stop.target_accuracy is "
            f"{job.stop.target_accuracy}, but the task's metrics are "
            f"{', '.join(metric_names)}; it must measure 'accuracy'"
        )
