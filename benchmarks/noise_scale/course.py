"""The noise scale while networks train, by our loop."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from absa.collective import Collective
from absa.data.config import DataConfig
from absa.events import Record
from absa.models.config import ModelConfig
from absa.noise_scale.predict import Stretch, trade_off
from absa.task import Task
from absa.tasks.image_classification import ImageClassification
from benchmarks.measure import Table
from benchmarks.noise_scale.direct import Checked, check
from benchmarks.noise_scale.engine import Engine, Listening, Updates, build

OBSERVE_UPDATES = 20


@dataclass(frozen=True)
class Training:
    """A network that is trained.

    Args:
        data: Name of the data set.
        model: Name of the network.
        updates: How; listened to in every update.
        checks: Shares of the run after which the noise scale is checked directly.
        published: Run averages of B_crit and B_simple for this data set, by McCandlish et al. 2018,
            arXiv:1812.06162, table 1.
    """

    data: str
    model: str
    updates: Updates
    checks: tuple[float, ...]
    published: tuple[int, int]

    @property
    def name(self) -> str:
        """Return it in words."""
        return f"{self.data}, {self.model}"


@dataclass(frozen=True)
class Course:
    """What was seen of a training.

    Args:
        training: Which.
        observations: In order.
        checked: Where it was checked.
        accuracy: On the test images, at the end.
    """

    training: Training
    observations: Sequence[Record]
    checked: Sequence[Checked]
    accuracy: float


def sgd(batch: int, lr: float, epochs: float) -> Updates:
    """Return updates in two passes of whole batch-norm groups, with a decay to zero."""
    return Updates(batch, batch // 2, batch // 4, lr, 0.9, 5e-4, epochs, "cosine")


MNIST_PUBLISHED, CIFAR_PUBLISHED = (200, 900), (900, 2000)

TRAININGS: dict[str, tuple[Training, ...]] = {
    "quick": (
        Training("mnist", "small_cnn", sgd(128, 0.05, 0.6), (1.0,), MNIST_PUBLISHED),
        Training("cifar10", "small_cnn", sgd(128, 0.05, 0.6), (), CIFAR_PUBLISHED),
    ),
    "usual": (
        Training("mnist", "small_cnn", sgd(128, 0.05, 3), (0.3, 1.0), MNIST_PUBLISHED),
        Training("cifar10", "small_cnn", sgd(128, 0.05, 4), (0.25, 1.0), CIFAR_PUBLISHED),
        Training("cifar10", "resnet20", sgd(128, 0.1, 2), (), CIFAR_PUBLISHED),
    ),
    "full": (
        Training("mnist", "small_cnn", sgd(128, 0.05, 10), (0.1, 0.5, 1.0), MNIST_PUBLISHED),
        Training("cifar10", "small_cnn", sgd(128, 0.05, 20), (0.1, 0.5, 1.0), CIFAR_PUBLISHED),
        Training("cifar10", "resnet20", sgd(128, 0.1, 20), (0.1, 0.5, 1.0), CIFAR_PUBLISHED),
    ),
}


def task_of(training: Training) -> ImageClassification:
    """Return the training's task.

    Raises:
        DataError: The data set is not there.
    """
    task = ImageClassification(
        DataConfig.model_validate({"name": training.data}), ModelConfig(name=training.model), 0
    )
    task.images  # noqa: B018  # opened now, so that it is known before hours of work
    return task


def run(collective: Collective, training: Training) -> Course:
    """Train, and check where that is asked; on one rank."""
    assert collective.world_size == 1
    return follow(training, task_of(training))


def follow(training: Training, task: Task) -> Course:
    """Do it for any task of images."""
    engine = build(task, training.updates, Listening(1, observe_updates=OBSERVE_UPDATES))
    num_train = len(engine.replica.train)
    total = (training.updates.epochs or 0) * num_train
    due = [share * total for share in training.checks]
    checked: list[Checked] = []
    samples, going = 0, True
    engine.loop.start({})
    while going:
        going = engine.loop.step() != "end"
        samples += training.updates.batch
        while due and (samples >= due[0] or not going):
            due.pop(0)
            checked.append(check(engine.replica, training.updates, min(samples, total) / num_train))
    engine.loop.end()
    engine.loop.close()
    return Course(training, engine.kept.observations, checked, _accuracy(engine))


def _accuracy(engine: Engine) -> float:
    (evaluation,) = (r for r in engine.kept.records if r["event"] == "evaluation")
    return float(evaluation["metrics"]["accuracy"])


def average_table(courses: Sequence[Course]) -> Table:
    """Return the run averages beside the published ones."""
    columns = (
        "training",
        "epochs",
        "test accuracy",
        "average B_simple",
        "its lower ends",
        "its upper ends",
        "resolved, %",
        "critical batch",
        "published B_simple",
        "published B_crit",
    )
    lines = []
    for course in courses:
        said = course.observations
        uppers = [each["noise_upper"] for each in said if each["noise_upper"] is not None]
        b_crit, b_simple = course.training.published
        lines.append(
            (
                course.training.name,
                course.training.updates.epochs,
                course.accuracy,
                statistics.fmean(at_least(each) for each in said),
                statistics.fmean(each["noise_lower"] for each in said),
                statistics.fmean(uppers) if len(uppers) == len(said) else None,
                100 * statistics.fmean(each["noise_scale"] is not None for each in said),
                critical_batch(course),
                b_simple,
                b_crit,
            )
        )
    title = (
        "Run averages of the noise scale, in samples (where it is not resolved: of its lower end)"
    )
    return Table(title, columns, tuple(lines))


def at_least(said: Record) -> float:
    """Return the noise scale, or what it is at least."""
    value = said["noise_scale"]
    return float(said["noise_lower"] if value is None else value)


def critical_batch(course: Course) -> float:
    """Return the average over progress, not over updates: see `absa.noise_scale.predict`."""
    batch = course.training.updates.batch
    stretches = [Stretch(OBSERVE_UPDATES, batch, at_least(each)) for each in course.observations]
    return trade_off(stretches).critical_batch


def course_table(courses: Sequence[Course]) -> Table:
    """Return the noise scale at some points of each training."""
    lines = []
    for course in courses:
        said = course.observations
        # Nine points, denser at the beginning, where most changes.
        for share in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.0):
            each = said[max(round(share * len(said)) - 1, 0)]
            lines.append(
                (
                    course.training.name,
                    each["epoch"],
                    each["loss"],
                    each["noise_scale"],
                    each["noise_lower"],
                    each["noise_upper"],
                    each["learning_rate"],
                )
            )
    columns = ("training", "epoch", "loss", "B_simple", "lower", "upper", "learning rate")
    title = "The noise scale over training, in samples, with its 90 % interval"
    return Table(title, columns, tuple(dict.fromkeys(lines)))


def group_table(courses: Sequence[Course]) -> Table:
    """Return the noise scale of each group of layers at the end of each training."""
    lines = []
    for course in courses:
        for group, value in course.observations[-1]["noise_groups"].items():
            lines.append((course.training.name, group, value))
    columns = ("training", "layers", "B_simple")
    return Table("The noise scale of groups of layers at the end", columns, tuple(lines))


def check_table(courses: Sequence[Course]) -> Table:
    """Return what updates at two batches really did, beside what was predicted."""
    lines = [
        (course.training.name, *checked.cells) for course in courses for checked in course.checked
    ]
    columns = ("training", *Checked.columns)
    title = (
        "The direct check: B from the loss after one update of plain SGD from these weights at two "
        "batches, beside B_simple at the same weights"
    )
    return Table(title, columns, tuple(lines))
