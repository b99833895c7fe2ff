import pytest

import absa
from absa.errors import AbsaError, DataError, TaskError
from absa.tasks.load import load_task
from cluster.job_rules import resolve
from cluster.load_job import load_job, parse_job
from cluster.task_error import _is_ours, task_errors, tell, tell_briefly


def mine() -> None:
    raise KeyError("no such thing")


def caught(function) -> Exception:
    with pytest.raises(Exception) as info:  # noqa: PT011
        function()
    # As the worker catches it: its own frame, outside of the packages, is not part of the story.
    return info.value.with_traceback(info.value.__traceback__.tb_next)


def without_ours(error: BaseException) -> BaseException:
    """Drop the frames of this file and of `task_errors`, which in a command is all absa's."""
    frame = error.__traceback__
    while frame.tb_frame.f_code.co_name != "load_task":
        frame = frame.tb_next
    return error.with_traceback(frame)


def test_a_traceback_begins_in_the_task():
    text = tell(caught(mine))

    assert "in mine" in text
    assert text.endswith("KeyError: 'no such thing'")


def test_a_task_in_a_folder_whose_name_begins_like_ours_is_not_ours():
    file = f"{absa.__path__[0]}_tasks/mine.py"
    code: dict = {}
    exec(compile("def theirs():\n    raise KeyError(1)", file, "exec"), code)

    assert not _is_ours(caught(code["theirs"]).__traceback__)
    assert _is_ours(caught(lambda: load_job(3)).__traceback__.tb_next)


def test_a_fault_of_absa_is_told_whole():
    text = tell(caught(lambda: load_job(3)))

    assert "load_job.py" in text


def job(task: bool):
    return resolve(parse_job(b"task: {use: 'a.b:C'}" if task else b"{}", "job.yaml"))


def test_only_what_the_users_own_task_raises_is_its_error():
    with (
        pytest.raises(TaskError, match=r"job.yaml:1: the task failed"),
        task_errors(job(task=True)),
    ):
        mine()
    with pytest.raises(KeyError), task_errors(job(task=False)):
        mine()


def test_an_error_on_purpose_stays_what_it_is():
    with pytest.raises(DataError), task_errors(job(task=True)):
        raise DataError("x")
    assert issubclass(TaskError, AbsaError)


def test_the_import_of_a_module_is_no_part_of_its_story(tmp_path, monkeypatch):
    (tmp_path / "falls_over.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(TaskError) as info, task_errors(job(task=True)):
        load_task("falls_over:Task", {})

    assert "importlib" not in tell(without_ours(info.value.__cause__))


def test_in_brief_it_is_one_line_that_says_where():
    with pytest.raises(KeyError) as info:
        mine()

    brief = tell_briefly(info.value)
    assert brief.startswith("KeyError: ")
    assert f"({__file__}:" in brief
    assert "\n" not in brief
    assert tell_briefly(ValueError("one\ntwo")) == "ValueError: one"


def test_an_error_on_purpose_needs_no_place():
    with pytest.raises(DataError) as info:
        raise DataError("other data")

    assert tell_briefly(info.value) == "other data"
