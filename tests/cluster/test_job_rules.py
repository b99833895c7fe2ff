import pytest

from absa.errors import ConfigError
from cluster.job import Job
from cluster.job_rules import check_with_data, resolve
from cluster.load_job import parse_job


def parse(text: str, *overrides: str) -> Job:
    return parse_job(text.encode(), "job.yaml", overrides)


def refusal(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, *overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "batch:\n  initial: 64\n  max: 32",
            "job.yaml:3: batch.max = 32 must be at least batch.initial = 64 (line 2)",
        ),
        (
            "batch: {max: 32}",
            "job.yaml:1: batch.max = 32 must be at least batch.initial = 64 (default)",
        ),
        (
            "batch:\n  micro: 256\n  max: 128",
            "job.yaml:2: batch.micro = 256 must be at most batch.max = 128 (line 3): no more "
            "samples than the largest batch go through at once",
        ),
        (
            "batch:\n  initial: 64\n  bn_group: 48",
            "job.yaml:3: batch.bn_group = 48 must divide batch.initial = 64 (line 2): batch-norm "
            "takes its statistics over whole groups; try 32 or 64",
        ),
        (
            "batch: {bn_group: 65}",
            "job.yaml:1: batch.bn_group = 65 must divide batch.initial = 64 (default): batch-norm "
            "takes its statistics over whole groups; try 64",
        ),
        (
            "batch:\n  micro: 40\n  bn_group: 32",
            "job.yaml:2: batch.micro = 40 must be a multiple of batch.bn_group = 32 (line 3): a "
            "group goes through the model in one piece; set batch.micro to 64, or batch.bn_group "
            "to a divisor of both batches",
        ),
        (
            "schedule:\n  warmup:\n    epochs: 11\nstop:\n  epochs: 10",
            "job.yaml:3: schedule.warmup.epochs = 11.0 is longer than the training, stop.epochs = "
            "10.0 (line 5): shorten the warm-up, or set schedule.warmup.kind to none",
        ),
        (
            "workers:\n  min: 4\n  max: 2",
            "job.yaml:3: workers.max = 2 must be at least workers.min = 4 (line 2)",
        ),
        (
            "workers: {gpus: 2}",
            "job.yaml:1: workers.gpus = 2.0 must be at most 1: a worker computes on one GPU; ask "
            "for more workers (workers.min = 1 (default)) to use more GPUs",
        ),
        (
            "workers:\n  gpus: 0.5\n  max: 2",
            "job.yaml:2: workers.gpus = 0.5 must be 0 or 1 with workers.max = 2 (line 3): NCCL "
            "refuses two workers on one GPU",
        ),
        (
            "workers:\n  max: 2\nelastic:\n  plan:\n    - {epochs: 0, workers: 3}",
            "job.yaml:5: elastic.plan.0.workers = 3 must be at most workers.max = 2 (line 2)",
        ),
        (
            "workers:\n  min: 2\nelastic:\n  plan:\n    - epochs: 0\n      workers: 1",
            "job.yaml:6: elastic.plan.0.workers = 1 must be at least workers.min = 2 (line 2)",
        ),
        (
            "elastic: {plan: [{epochs: 1, workers: 2}]}",
            "job.yaml:1: elastic.plan.0.workers = 2 must be at most workers.max = 1 (default)",
        ),
        (
            "elastic:\n  plan:\n  - {epochs: 3, workers: 1}\n  - {epochs: 3, workers: 1}",
            "job.yaml:4: elastic.plan.1.epochs = 3.0 must be greater than elastic.plan.0.epochs = "
            "3.0 (line 3), the step before it",
        ),
        (
            f"batch: {{initial: {2**62}, bn_group: 3}}",
            f"job.yaml:1: batch.initial = {2**62} must be at most {2**31}",
        ),
        (
            "seed: 1\nstop: {}",
            "job.yaml:2: stop has no rule, the run would never end: set one of stop.epochs, "
            "stop.updates, stop.samples, stop.time_s, stop.target_accuracy",
        ),
    ],
)
def test_an_impossible_combination_names_both_keys_values_and_lines(text, message):
    assert refusal(text) == message


def test_an_override_is_named_where_it_breaks_a_rule():
    assert refusal("batch:\n  initial: 64", "batch.max=32") == (
        "--set batch.max=32: batch.max = 32 must be at least batch.initial = 64 (job.yaml:2)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "schedule: {warmup: {kind: none, epochs: 100}}",
        "schedule: {warmup: {epochs: 10}}\nstop: {epochs: 10}",
        "stop: {target_accuracy: 0.9}",
        "checkpoint: {every_epochs: null, every_s: null}",
        "workers: {gpus: 0.5}",
        "workers: {gpus: 1, max: 8}",
        "precision: bf16",
        "elastic: {plan: []}",
        "workers: {max: 3}\nelastic: {plan: [{epochs: 0.5, workers: 3}, {epochs: 2, workers: 1}]}",
        "batch: {initial: 64, max: 4096, micro: 1024, bn_group: 32}",
    ],
)
def test_an_unusual_but_possible_job_is_accepted(text):
    resolve(parse(text))


@pytest.mark.parametrize(
    ("initial", "workers", "group"),
    [
        (64, 1, 64),
        (64, 2, 32),
        (64, 3, 16),
        (96, 3, 32),
        (7, 2, 7),
        (8, 8, 8),
        (4, 9, 4),
        (1, 1, 1),
    ],
)
def test_a_default_group_is_a_divisor_that_leaves_a_group_for_each_worker(initial, workers, group):
    job = resolve(parse(f"batch: {{initial: {initial}}}\nworkers: {{min: {workers}}}"))

    assert job.batch.bn_group == group


def test_defaults_are_filled_from_the_values_they_depend_on():
    job = resolve(parse("batch: {initial: 32}\nworkers: {min: 2}"))

    assert (job.batch.max, job.batch.micro, job.workers.max) == (32, 32, 2)


def test_resolving_a_job_made_in_python_checks_it_too():
    job = Job.model_validate({"batch": {"initial": 8, "max": 4}})

    with pytest.raises(ConfigError, match=r"job: batch.max = 4 .*batch.initial = 8"):
        resolve(job)


@pytest.mark.parametrize("stop", ["samples: 999", "updates: 15", "updates: 15\n  epochs: 20"])
def test_a_warm_up_longer_than_the_training_is_found_when_the_data_is_there(stop):
    job = resolve(parse(f"schedule: {{warmup: {{epochs: 10}}}}\nstop:\n  {stop}"))

    check_with_data(job, num_train=96)
    with pytest.raises(
        ConfigError, match=r"^job.yaml:1: schedule.warmup.epochs = 10.0 of 100 samples"
    ):
        check_with_data(job, num_train=100)


def test_without_a_limit_in_samples_no_warm_up_is_too_long():
    check_with_data(resolve(parse("stop: {time_s: 1}")), num_train=10**9)
