import ast
import importlib.util

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from absa.errors import ConfigError
from cluster.job_rules import resolve
from cluster.load_job import load_job
from cluster.starter.write import write_starter


@pytest.fixture
def starter(tmp_path):
    return write_starter(tmp_path, "moons")


@pytest.fixture
def task(starter):
    spec = importlib.util.spec_from_file_location("moons_task", starter / "task.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TwoMoons(hidden=16)


def test_the_job_is_valid_and_names_a_class_of_the_task_file(starter):
    job = resolve(load_job(starter / "job.yaml"))

    assert job.task is not None
    module, _, name = job.task.use.partition(":")
    assert (job.name, module) == ("moons", "moons.task")
    classes = [
        n for n in ast.parse((starter / "task.py").read_text()).body if isinstance(n, ast.ClassDef)
    ]
    assert [c.name for c in classes] == [name]


def test_the_task_learns_with_the_numbers_of_its_job(task):
    torch.manual_seed(0)
    data, model = task.datasets(), task.build_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train = default_collate([data.train[i] for i in range(len(data.train))])
    for step in range(180):
        rows = torch.arange(32) + 32 * (step % 60)
        losses = task.losses(model, [part[rows] for part in train])
        assert losses.shape == (32,)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()

    sums = task.metrics(model, default_collate([data.evaluation[i] for i in range(500)]))
    assert sums["count"] == 500
    assert sums["accuracy"] / sums["count"] > 0.95
    assert isinstance(model, nn.Module)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").mkdir()

    with pytest.raises(ConfigError, match="exists already and is left as it is"):
        write_starter(tmp_path, "mine")
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize("name", ["", "a-b", "1a", "class", "a/b", "..", "ü"])
def test_a_name_that_python_cannot_import_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be imported by Python"):
        write_starter(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_an_installed_package_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="name of an installed Python package"):
        write_starter(tmp_path, "torch")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        write_starter(tmp_path / "none", "mine")
