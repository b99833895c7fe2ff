import pytest
import torch

from absa.errors import CheckpointError, ConfigError, DataError, TaskError
from cluster.compose import compose
from cluster.job import Job
from cluster.job_rules import resolve
from cluster.load_job import parse_job
from cluster.placed import placed


def job(text: str, *overrides: str) -> Job:
    return resolve(parse_job(text.encode(), "job.yaml", overrides))


IMAGES = job("seed: 1\ndata:\n  name: arrays\n  root: there\n", "model.name=mlp")


@pytest.mark.parametrize(
    ("path", "message", "told"),
    [
        ("data.root", "x.npy: damaged", 'job.yaml:4: data.root = "there": x.npy: damaged'),
        ("data.root", "data.root is there: no", "job.yaml:4: data.root is there: no"),
        ("data.root", "data.name is arrays: no", "job.yaml:3: data.name is arrays: no"),
        ("model.name", "model.args.x: no", "--set model.name=mlp: model.args.x: no"),
        ("seed", "it is odd", "job.yaml:1: seed = 1: it is odd"),
    ],
)
def test_a_message_begins_with_the_place_and_the_key_to_blame(path, message, told):
    with pytest.raises(DataError) as caught, placed(IMAGES, path):
        raise DataError(message)
    assert str(caught.value) == told


def test_an_error_that_no_key_is_to_blame_for_stays_as_it_is():
    with pytest.raises(CheckpointError, match=r"^x$"), placed(IMAGES, "data.root"):
        raise CheckpointError("x")


def test_what_composing_refuses_is_told_with_its_line(tmp_path):
    missing = tmp_path / "nowhere"
    with pytest.raises(DataError, match=r"^job.yaml:2: data.root is .*nowhere: .*npy"):
        compose(job(f"data:\n  {{name: arrays, root: {missing}}}"), torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"^job.yaml:1: model.name: 'nope'"):
        compose(job("model: {name: nope}"), torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"^job.yaml:2: schedule.decay.kind = cosine"):
        compose(job("stop: {time_s: 1}\nschedule: {decay: {kind: cosine}}"), torch.device("cpu"))


def test_a_task_that_gives_no_datasets_is_told_so(tmp_path, monkeypatch):
    methods = "build_model = losses = metrics = lambda self: None"
    (tmp_path / "hands_back_a_list.py").write_text(
        f"class Task:\n    {methods}\n    def datasets(self): return []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(TaskError, match=r"^job.yaml:1: task.datasets returned a list"):
        compose(job("task: {use: 'hands_back_a_list:Task'}"), torch.device("cpu"))


def test_an_adversary_without_inputs_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    (tmp_path / "names_no_inputs.py").write_text(
        "from absa.tasks.image_classification import ImageClassification as Images\n"
        "from absa.data.config import DataConfig\n"
        "from absa.models.config import ModelConfig\n"
        "class Task(Images):\n"
        "    adversarial_inputs = property()\n"
        "    def __init__(self): super().__init__(DataConfig(), ModelConfig(), 0)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    text = "task: {use: 'names_no_inputs:Task'}\npolicy: {kind: absa}"
    with pytest.raises(ConfigError, match=r"^job.yaml:2: policy.kind = .*does not say"):
        compose(job(text), torch.device("cpu"))


def test_the_share_that_is_perturbed_at_first_is_the_policys():
    ratios = [
        compose(job(f"policy: {{kind: {kind}}}"), torch.device("cpu")).start.settings
        for kind in ("absa", "abs")
    ]
    assert [each.adversarial_ratio for each in ratios] == [0.2, 0.0]
