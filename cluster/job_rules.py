"""What a job may not ask for although each of its values is fine alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from absa.errors import ConfigError
from cluster.job import MAX_BATCH, Job, divisors, fill_defaults
from cluster.show_value import show


@dataclass(frozen=True)
class Problem:
    """A broken rule.

    Args:
        paths: The keys that do not go together, the one to blame first.
        text: What is wrong and what is allowed; ``{0}`` stands for the first key with its value,
            ``{1}`` for the second.
    """

    paths: tuple[str, ...]
    text: str


def broken_rules(job: Job) -> list[Problem]:
    """Return every rule between fields that the job breaks; an empty list for a good one."""
    full = fill_defaults(job)
    rules = (_batch, _bn_group, _policy, _workers, _plan, _length, _task)
    return [problem for rule in rules for problem in rule(full)]


def resolve(job: Job) -> Job:
    """Return the job with every default that depends on other values written out.

    Raises:
        ConfigError: Values that do not go together; one line for each rule that is broken.
    """
    _raise_if(job, broken_rules(job))
    return fill_defaults(job)


def check_with_data(job: Job, num_train: int) -> None:
    """Check what can only be known once the data is there.

    Args:
        job: A job without problems.
        num_train: Samples in the training set.

    Raises:
        ConfigError: The warm-up is longer than the training.
    """
    warmup, stop = job.schedule.warmup, job.stop
    ends: dict[str, float | None] = {
        "stop.epochs": stop.epochs and stop.epochs * num_train,
        "stop.samples": stop.samples,
        "stop.updates": stop.updates and stop.updates * (job.batch.max or job.batch.initial),
    }
    for path, end in ends.items():
        if warmup.kind != "none" and end is not None and warmup.epochs * num_train > end:
            text = f"{{0}} of {num_train} samples is longer than the training: {{1}} ends it before"
            _raise_if(job, [Problem(("schedule.warmup.epochs", path), text)])


def render(job: Job, problem: Problem) -> str:
    """Return one message: where the first key was written, then the text with all of them."""
    full = fill_defaults(job)
    written = [path for path in problem.paths if job.is_written(path)]
    where = job.place(written[0] if written else problem.paths[0])
    names = [_with_value(full, path, where) for path in problem.paths]
    return f"{where}: {problem.text.format(*names)}"


def _with_value(job: Job, path: str, where: str) -> str:
    value: object = job
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, tuple) else getattr(value, key)
    text = path if hasattr(value, "model_fields_set") else f"{path} = {show(value)}"
    place = job._places.by_path.get(path)
    if place is None:
        return f"{text} (default)"
    if place == where:
        return text
    same_file = place.rpartition(":")[0] == where.rpartition(":")[0] != ""
    return f"{text} (line {place.rpartition(':')[2]})" if same_file else f"{text} ({place})"


def _raise_if(job: Job, found: list[Problem]) -> None:
    if found:
        raise ConfigError("\n".join(render(job, problem) for problem in found))


def _batch(job: Job) -> Iterator[Problem]:
    batch = job.batch
    assert batch.max is not None
    assert batch.micro is not None
    if batch.initial > MAX_BATCH:
        yield Problem(("batch.initial",), f"{{0}} must be at most {MAX_BATCH}")
    if batch.max < batch.initial:
        yield Problem(("batch.max", "batch.initial"), "{0} must be at least {1}")
    elif batch.micro > batch.max:
        yield Problem(
            ("batch.micro", "batch.max"),
            "{0} must be at most {1}: no more samples than the largest batch go through at once",
        )


def _bn_group(job: Job) -> Iterator[Problem]:
    batch = job.batch
    assert batch.micro is not None
    assert batch.bn_group is not None
    group = batch.bn_group
    if batch.initial > MAX_BATCH:
        return
    if batch.initial % group:
        near = _nearest_divisors(batch.initial, group)
        yield Problem(
            ("batch.bn_group", "batch.initial"),
            f"{{0}} must divide {{1}}: batch-norm takes its statistics over whole groups; "
            f"try {near}",
        )
    elif batch.micro % group:
        multiple = -(-batch.micro // group) * group
        yield Problem(
            ("batch.micro", "batch.bn_group"),
            "{0} must be a multiple of {1}: a group goes through the model in one piece; set "
            f"batch.micro to {multiple}, or batch.bn_group to a divisor of both batches",
        )


def _nearest_divisors(number: int, wanted: int) -> str:
    """Return the divisors of ``number`` next to ``wanted``, as text."""
    every = divisors(number)
    near = [max(d for d in every if d <= wanted), *[d for d in every if d > wanted][:1]]
    return " or ".join(map(str, near))


def _policy(job: Job) -> Iterator[Problem]:
    """What a policy decides on must be there, and must not contradict what surrounds it."""
    yield from _rates(job)
    yield from _batch_warmup(job)
    if job.batch.max != job.batch.initial:
        yield from _signals(job)


def _signals(job: Job) -> Iterator[Problem]:
    """The signals of a policy that has something to decide."""
    kind = job.policy.kind
    blind = "{0} leaves {1} without what it decides on: measure it, or choose another policy"
    if kind in ("noise_scale", "hybrid") and job.noise_scale.every_updates is None:
        yield Problem(("noise_scale.every_updates", "policy.kind"), blind)
    if kind in ("abs", "absa") and job.curvature.every_epochs is None:
        yield Problem(("curvature.every_epochs", "policy.kind"), blind)
    if kind in ("abs", "absa", "hybrid") and job.curvature.backend == "pyhessian":
        yield Problem(
            ("curvature.backend", "policy.kind"),
            "{0} gives no upper bound, so an eigenvalue never has certainly fallen for {1}: use "
            "lanczos",
        )
    if kind == "schedule" and job.schedule.decay.kind == "none":
        yield Problem(
            ("policy.kind", "schedule.decay.kind"),
            "{0} grows the batch where the learning rate would fall, but it never does: {1}",
        )
    if kind == "schedule" and job.schedule.scaling == "gain":
        yield Problem(
            ("schedule.scaling", "policy.kind"),
            "{0} does not keep what {1} promises: linear keeps the learning rate, sqrt divides it "
            "by sqrt(2) where the batch doubles",
        )
    if kind == "absa" and job.stop.epochs is None and job.stop.samples is None:
        yield Problem(
            ("policy.adversarial_until", "stop"),
            "{0} is a share of the training, whose length is not known: set stop.epochs or "
            "stop.samples",
        )


def _rates(job: Job) -> Iterator[Problem]:
    if job.schedule.scaling == "gain" and job.noise_scale.every_updates is None:
        yield Problem(
            ("schedule.scaling", "noise_scale.every_updates"),
            "{0} follows the noise scale, but that is not measured: {1}",
        )
    if job.policy.lr_margin is None:
        return
    if job.optimizer.name != "sgd":
        yield Problem(
            ("policy.lr_margin", "optimizer.name"),
            "{0} is a share of the limit of descent with momentum, which says nothing of {1}",
        )
    if job.curvature.every_epochs is None:
        yield Problem(
            ("policy.lr_margin", "curvature.every_epochs"),
            "{0} is a share of a limit that the curvature sets, but that is not measured: {1}",
        )


def _batch_warmup(job: Job) -> Iterator[Problem]:
    warmup, batch = job.policy.warmup, job.batch
    if warmup is None:
        return
    assert batch.max is not None
    if not batch.initial < warmup.to_batch <= batch.max:
        yield Problem(
            ("policy.warmup.to_batch", "batch.max"),
            f"{{0}} must be above batch.initial = {batch.initial} and at most {{1}}",
        )
    if job.stop.epochs is not None and warmup.epochs > job.stop.epochs:
        yield Problem(
            ("policy.warmup.epochs", "stop.epochs"), "{0} is longer than the training, {1}"
        )


def _workers(job: Job) -> Iterator[Problem]:
    workers = job.workers
    assert workers.max is not None
    if workers.max < workers.min:
        yield Problem(("workers.max", "workers.min"), "{0} must be at least {1}")
    if workers.gpus > 1:
        yield Problem(
            ("workers.gpus", "workers.min"),
            "{0} must be at most 1: a worker computes on one GPU; ask for more workers ({1}) to "
            "use more GPUs",
        )
    elif 0 < workers.gpus < 1 < workers.max:
        yield Problem(
            ("workers.gpus", "workers.max"),
            "{0} must be 0 or 1 with {1}: NCCL refuses two workers on one GPU",
        )


def _plan(job: Job) -> Iterator[Problem]:
    limits = job.workers
    assert limits.max is not None
    before: float | None = None
    for index, step in enumerate(job.elastic.plan or ()):
        workers, epochs = f"elastic.plan.{index}.workers", f"elastic.plan.{index}.epochs"
        if step.workers < limits.min:
            yield Problem((workers, "workers.min"), "{0} must be at least {1}")
        elif step.workers > limits.max:
            yield Problem((workers, "workers.max"), "{0} must be at most {1}")
        if before is not None and step.epochs <= before:
            previous = f"elastic.plan.{index - 1}.epochs"
            yield Problem((epochs, previous), "{0} must be greater than {1}, the step before it")
        before = step.epochs


def _length(job: Job) -> Iterator[Problem]:
    stop, warmup = job.stop, job.schedule.warmup
    limits = [f"stop.{name}" for name in type(stop).model_fields]
    if all(limit is None for _, limit in stop):
        yield Problem(
            ("stop",), f"{{0}} has no rule, the run would never end: set one of {', '.join(limits)}"
        )
    if warmup.kind != "none" and stop.epochs is not None and warmup.epochs > stop.epochs:
        yield Problem(
            ("schedule.warmup.epochs", "stop.epochs"),
            "{0} is longer than the training, {1}: shorten the warm-up, or set "
            "schedule.warmup.kind to none",
        )


def _task(job: Job) -> Iterator[Problem]:
    if job.task is None:
        return
    for section in ("data", "model"):
        if section in job.model_fields_set:
            yield Problem(
                (section, "task.use"),
                f"{{0}} would not be read, because {{1}} brings its own: remove {section}, or "
                "remove task",
            )
