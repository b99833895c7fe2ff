"""Loading the task that a job names."""

import sys

import pytest

from absa.errors import ConfigError, TaskError
from absa.tasks.load import load_task

_TASK = """
class Whole:
    def __init__(self, depth, *, width=3):
        self.depth, self.width = depth, width

    def build_model(self): ...
    def datasets(self): ...
    def losses(self, model, batch): ...
    def metrics(self, model, batch): ...


class Half:
    def build_model(self): ...
    def datasets(self): ...
    losses = 3


class Open(Whole):
    def __init__(self, **options):
        self.options = options


def make(depth):
    return Whole(depth)


def broken():
    raise ValueError("by the user")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder with modules of the user's; forget them afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "my_tasks.py").write_text(_TASK)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_class_of_the_working_directory_is_made_with_its_arguments(here):
    task = load_task("my_tasks:Whole", {"depth": 2, "width": 5})
    assert (task.depth, task.width) == (2, 5)


def test_defaults_stay(here):
    assert load_task("my_tasks:Whole", {"depth": 2}).width == 3


def test_any_callable_that_returns_a_task_will_do(here):
    assert load_task("my_tasks:make", {"depth": 4}).depth == 4
    assert load_task("my_tasks:Open", {"anything": 1}).options == {"anything": 1}


def test_modules_may_lie_in_packages(here):
    (here / "package").mkdir()
    (here / "my_tasks.py").rename(here / "package" / "inner.py")
    assert load_task("package.inner:Whole", {"depth": 1}).depth == 1


def test_the_working_directory_shadows_nothing_installed(here):
    (here / "json.py").write_text("raise SystemExit")
    (here / "sklearn.py").write_text("raise SystemExit")
    load_task("my_tasks:Whole", {"depth": 1})
    load_task("my_tasks:Whole", {"depth": 1})
    assert sys.path[-1] == str(here)
    assert sys.path.count(str(here)) == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, r"task\.args\.depth is missing; arguments of my_tasks:Whole: depth, width=3"),
        ({"depth": 1, "dept": 2}, r"task\.args\.dept is unknown"),
        ({"dept": 2}, r"task\.args\.dept is unknown, task\.args\.depth is missing"),
    ],
)
def test_arguments_are_checked_against_the_signature(here, args, said):
    with pytest.raises(ConfigError, match=said):
        load_task("my_tasks:Whole", args)


@pytest.mark.parametrize(
    "use", ["my_tasks", "my_tasks:", ":Whole", "my_tasks.Whole", "a b:C", "..x:C", "m:A.b"]
)
def test_names_of_another_form_are_refused(here, use):
    with pytest.raises(ConfigError, match=r"package\.module:Class"):
        load_task(use, {})


@pytest.mark.parametrize("use", ["not_there:Task", "not_there.inner:Task", "my_tasks.inner:Task"])
def test_a_missing_module_is_named_with_the_folder_looked_in(here, use):
    with pytest.raises(ConfigError, match="there is no module") as caught:
        load_task(use, {})
    assert str(here) in str(caught.value)


def test_a_missing_class_is_named_with_those_that_exist(here):
    with pytest.raises(ConfigError, match=r"no class Hole; its classes: Whole, Half, Open"):
        load_task("my_tasks:Hole", {})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import not_installed_here", "No module named 'not_installed_here'"),
        ("from json import nothing", "cannot import name 'nothing'"),
        ("def f(:", r"bad\.py, line 1"),
    ],
)
def test_a_module_that_fails_to_import_says_why(here, source, said):
    (here / "bad.py").write_text(source)
    with pytest.raises(TaskError, match=f"importing bad failed: .*{said}"):
        load_task("bad:Task", {})


def test_missing_methods_are_named(here):
    with pytest.raises(TaskError, match="my_tasks:Half lacks the methods losses, metrics"):
        load_task("my_tasks:Half", {})


def test_a_folder_without_the_class_is_named(here):
    (here / "folder").mkdir()
    with pytest.raises(ConfigError, match=r"folder has no class Task; its classes: \(none\)"):
        load_task("folder:Task", {})


def test_what_is_not_written_in_python_is_refused(here):
    with pytest.raises(ConfigError, match="builtins:int"):
        load_task("builtins:int", {})


def test_errors_of_the_users_own_code_keep_their_traceback(here):
    with pytest.raises(ValueError, match="by the user"):
        load_task("my_tasks:broken", {})
