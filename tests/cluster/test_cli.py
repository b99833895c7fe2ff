import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from cluster.cli import app
from cluster.exit_code import ExitCode
from cluster.load_job import load_job
from cluster.operator import Order
from cluster.spectrum.options import Options

runner = CliRunner()


class FakeView:
    closed = False

    def __init__(self, *, json: bool) -> None:
        self.json = json

    def __call__(self, record) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FakeTraining:
    """Stands for both ways to train; keeps what it was asked to do."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.exit_code = 0

    def __call__(self, kind):
        def train(job, *, resume, view):
            self.calls.append((kind, job, resume, view))
            return self.exit_code

        return train


@pytest.fixture
def training(monkeypatch):
    fake = FakeTraining()
    contents = {
        "cluster.driver": {"train_on_ray": fake("ray")},
        "cluster.local": {"train_local": fake("local")},
        "cluster.views": {"make_view": FakeView},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def test_without_arguments_the_resolved_default_is_trained_on_ray(training):
    result = runner.invoke(app, ["train"])

    assert result.exit_code == 0
    ((kind, job, resume, view),) = training.calls
    assert (kind, job.name, resume) == ("ray", "digits", None)
    assert job.batch.micro == load_job(None).batch.initial
    assert view.closed


def test_options_reach_the_training(training, tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("seed: 5")

    options = ["--local", "--json", "--resume", "R", "--set", "batch.max=128", "--set", "seed=6"]
    runner.invoke(app, ["train", str(path), *options])

    ((kind, job, resume, view),) = training.calls
    assert (kind, job.batch.max, job.seed, resume, view.json) == ("local", 128, 6, "R", True)


def test_a_run_goes_on_with_its_own_job(training, monkeypatch):
    asked = []

    class FakeFolder:
        location = "/runs/old-1"
        storage = SimpleNamespace(read=lambda name: b"name: old\nseed: 7\n")

    def open_run(reference, storage):
        asked.append((reference, storage))
        return FakeFolder

    module = ModuleType("absa.run_folder")
    vars(module).update(open_run=open_run, JOB_FILE="job.yaml")
    monkeypatch.setitem(sys.modules, "absa.run_folder", module)

    options = ["--set", "storage=/runs", "--set", "stop.epochs=90"]
    result = runner.invoke(app, ["train", "--resume", "latest", *options])

    assert result.exit_code == 0, result.stderr
    ((_, job, resume, _),) = training.calls
    assert asked == [("latest", "/runs")]
    assert (job.name, job.seed, job.stop.epochs, resume) == ("old", 7, 90, "latest")
    assert job.place("seed") == "/runs/old-1/job.yaml:2"


@pytest.mark.parametrize("code", [ExitCode.TRAINING_FAILED, ExitCode.INTERRUPTED])
def test_the_exit_code_of_the_training_is_that_of_the_command(training, code):
    training.exit_code = code

    assert runner.invoke(app, ["train"]).exit_code == code


def test_bad_input_ends_with_2_and_trains_nothing(training):
    result = runner.invoke(app, ["train", "--set", "batch.initail=3", "--json"])

    assert result.exit_code == ExitCode.BAD_INPUT
    assert not training.calls
    assert result.stderr.startswith("error: --set batch.initail=3: batch.initail: unknown key")
    assert "Traceback" not in result.stderr
    event = json.loads(result.stdout)
    assert event["event"] == "error"
    assert "did you mean batch.initial?" in event["message"]


def test_validate_prints_a_job_that_loads_back_resolved(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("batch: {initial: 32}\n")

    result = runner.invoke(app, ["validate", str(path), "--set", "seed=9"])

    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["batch"]["max"] == 32
    path.write_text(result.stdout)
    assert load_job(path).seed == 9


def test_validate_refuses_with_2(tmp_path):
    result = runner.invoke(app, ["validate", str(tmp_path / "none.yaml")])

    assert result.exit_code == 2
    assert "there is no such job file" in result.stderr


def test_new_writes_a_job_that_validates(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = runner.invoke(app, ["new", "mine"])

    assert result.exit_code == 0
    assert "absa train mine/job.yaml" in result.stdout
    assert runner.invoke(app, ["validate", "mine/job.yaml"]).exit_code == 0
    assert runner.invoke(app, ["new", "mine"]).exit_code == 2


@pytest.mark.parametrize(
    ("command", "order"),
    [
        (["scale", "latest", "3"], Order(wish=3)),
        (["hold", "latest"], Order(hold=True)),
        (["hold", "latest", "--off"], Order(hold=False)),
        (["limit", "latest", "256"], Order(max_batch=256)),
    ],
)
def test_a_run_is_asked_for_something(monkeypatch, command, order):
    asked = []
    module = ModuleType("cluster.steer")
    vars(module).update(steer=lambda *arguments: asked.append(arguments) or "asked")
    monkeypatch.setitem(sys.modules, "cluster.steer", module)

    result = runner.invoke(app, command)

    assert (result.exit_code, result.stdout) == (0, "asked\n")
    assert asked == [("latest", order, load_job(None).storage)]


def test_what_is_no_number_is_not_asked_for():
    assert runner.invoke(app, ["scale", "latest", "many"]).exit_code == 2
    assert runner.invoke(app, ["scale", "latest"]).exit_code == 2


def test_a_run_that_does_not_train_is_not_scaled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = runner.invoke(app, ["scale", "latest", "3"])

    assert result.exit_code == 2
    assert "no run 'latest'" in result.stderr


def test_help_names_every_exit_code_within_80_columns():
    result = runner.invoke(app, ["train", "--help"], env={"COLUMNS": "80"})

    assert all(f"  {code.value}  " in result.stdout for code in ExitCode)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_version_is_printed():
    result = runner.invoke(app, ["--version"])

    assert result.exit_code == 0
    assert result.stdout.startswith("absa ")


@pytest.mark.parametrize("arguments", [["trian"], ["train", "--sett", "a=1"], ["validate"]])
def test_a_wrong_command_line_ends_with_2(arguments):
    assert runner.invoke(app, arguments).exit_code == 2


def test_a_spectrum_is_drawn_with_what_was_asked_for(monkeypatch):
    asked = []
    module = ModuleType("cluster.spectrum.draw")
    vars(module).update(draw_on_terminal=lambda *arguments: asked.append(arguments))
    monkeypatch.setitem(sys.modules, "cluster.spectrum.draw", module)
    wanted = Options(checkpoint="best", samples=64, starts=5, steps=30)
    options = [f"--{name}={value}" for name, value in vars(wanted).items()]

    result = runner.invoke(app, ["spectrum", "latest", *options])

    assert result.exit_code == 0, result.stderr
    assert asked == [("latest", wanted, load_job(None).storage)]
    assert runner.invoke(app, ["spectrum"]).exit_code == 2
    assert runner.invoke(app, ["spectrum", "latest", "--steps=many"]).exit_code == 2


def test_the_spectrum_of_no_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = runner.invoke(app, ["spectrum", "latest"])

    assert result.exit_code == 2
    assert "no run 'latest'" in result.stderr
