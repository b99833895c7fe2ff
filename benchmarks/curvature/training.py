"""A real run of our engine on CIFAR-10 that keeps its weights at every measuring point."""

import statistics
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from absa.collective import ALONE
from absa.data.config import DataConfig
from absa.data.resident import keep_on_device
from absa.instruments import Instruments
from absa.loop import Loop
from absa.models.config import ModelConfig
from absa.models.conversion import convert_batch_norm
from absa.models.running_statistics import RunningStatistics
from absa.order import SampleOrder
from absa.outside import Outside
from absa.progress import Progress
from absa.rules import Rules
from absa.run_state import RunState
from absa.schedules.config import DecayConfig, ScheduleConfig, WarmupConfig
from absa.schedules.learning_rate import learning_rate
from absa.settings import Settings
from absa.stop import StopConfig
from absa.tasks.image_classification import ImageClassification
from absa.update.replica import Replica, UpdateOptions
from benchmarks.curvature.cases import BATCH, Case
from benchmarks.measure import wall_s
from benchmarks.nowhere import Nowhere

LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4
"""Of He et al. 2015, arXiv:1512.03385, section 4.2, with the weight decay that is usual since."""
_NEVER = 1 << 60


@dataclass(frozen=True)
class Run:
    """What is left of a run.

    Args:
        points: The model's state at each measuring point, parameters and buffers.
        updates: After how many updates that was.
        update_s: Median time of an update.
    """

    points: tuple[dict[str, Tensor], ...]
    updates: tuple[int, ...]
    update_s: float


def cifar10(model: str) -> ImageClassification:
    """Return the task: CIFAR-10 with the usual crops and flips."""
    return ImageClassification(
        DataConfig(name="cifar10", crop_padding=4, flip=True), ModelConfig(name=model), seed=0
    )


def train(case: Case, task: ImageClassification) -> Run:
    """Train from the beginning, as far as the case says."""
    torch.manual_seed(0)
    model = convert_batch_norm(task.build_model(), BATCH)
    loop = _loop(task, model)
    points, seconds = [], []
    for _ in range(case.points):
        seconds += [wall_s(loop.step) for _ in range(case.updates)]
        points.append({name: value.clone() for name, value in model.state_dict().items()})
    updates = tuple(case.updates * (i + 1) for i in range(case.points))
    return Run(tuple(points), updates, statistics.median(seconds))


def _loop(task: ImageClassification, model: nn.Module) -> Loop:
    train_set = task.datasets().train
    device = torch.device("cpu")
    source = keep_on_device(train_set, device, train_set.split.images.nbytes)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(
        parameters, LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True
    )
    replica = Replica(
        task=task,
        model=model,
        train=source,
        order=SampleOrder(0, len(train_set)),
        optimizer=optimizer,
        parameters=parameters,
        statistics=RunningStatistics(model),
        device=device,
        options=UpdateOptions(BATCH),
    )
    state = RunState(Progress(), Settings(BATCH, BATCH))
    outside = Outside(ALONE, Nowhere(), Nowhere())
    return Loop(replica, Instruments(source, ()), _rules(len(train_set)), outside, state)


def _rules(num_train: int) -> Rules:
    """Return rules by which nothing happens but updates at a constant rate."""
    schedule = ScheduleConfig(
        scaling="none", warmup=WarmupConfig(kind="none"), decay=DecayConfig(kind="none")
    )
    return Rules(
        learning_rate=learning_rate(LR, schedule, num_train, None),
        stop=StopConfig(updates=_NEVER),
        evaluate_samples=_NEVER,
        evaluate_batch=1,
        observe_updates=20,
        checkpoint_samples=None,
        checkpoint_s=None,
        keep_best=False,
        max_skipped=5,
    )
