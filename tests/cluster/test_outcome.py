import json

import pytest

from absa.errors import ConfigError, DivergenceError
from cluster.exit_code import MEANINGS, ExitCode, exit_code
from cluster.outcome import error_block, exit_code_of


def raising(error: BaseException):
    def command() -> int:
        raise error

    return command


def test_a_command_without_an_error_keeps_its_exit_code(capsys):
    assert exit_code_of(lambda: 130) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("batch.max is 3"), ExitCode.BAD_INPUT, "error: batch.max is 3\n"),
        (DivergenceError("5 in a row"), ExitCode.TRAINING_FAILED, "error: 5 in a row\n"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "error: interrupted\n"),
    ],
)
def test_an_error_made_on_purpose_is_one_block_without_a_traceback(capsys, error, code, message):
    assert exit_code_of(raising(error)) == code
    assert capsys.readouterr() == ("", message)


def test_an_unforeseen_error_shows_its_traceback(capsys):
    assert exit_code_of(raising(ZeroDivisionError("oh"))) == ExitCode.INTERNAL_ERROR

    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "error: ZeroDivisionError: oh" in shown


def test_with_json_an_error_is_one_line_on_stdout_too(capsys):
    exit_code_of(raising(ConfigError("two\nlines")), json_lines=True)

    out, err = capsys.readouterr()
    assert json.loads(out) == {"event": "error", "message": "two\nlines", "exit_code": 2}
    assert err == "error: two\nlines\n"


def test_a_reader_that_has_gone_is_no_error_to_tell():
    with pytest.raises(BrokenPipeError):
        exit_code_of(raising(BrokenPipeError()))


def test_long_lines_are_wrapped_between_words_and_continue_indented():
    long_path = "/".join(["folder"] * 15)
    block = error_block(f"3 problems\n- {'word ' * 30}end\n    allowed: {long_path} b", 80)

    lines = block.splitlines()
    assert lines[0] == "error: 3 problems"
    assert all(len(line) <= 80 for line in lines if long_path not in line)
    assert lines[2].startswith("    word")
    assert any(long_path in line for line in lines)


def test_every_exit_code_is_explained():
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("reason", "code"), [("epochs", 0), ("target", 0), ("diverged", 3), ("interrupted", 130)]
)
def test_the_end_of_a_run_has_an_exit_code(reason, code):
    assert exit_code(reason) == code
