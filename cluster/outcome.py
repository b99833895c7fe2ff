"""The border of the `absa` command: whatever happens inside becomes a message and an exit code."""

import json
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable

from absa.errors import AbsaError
from cluster.exit_code import ExitCode

_MAX_COLUMNS = 100


def exit_code_of(command: Callable[[], int], *, json_lines: bool = False) -> int:
    """Run a command and return its exit code; an error is told once, on stderr.

    Args:
        command: Returns its exit code.
        json_lines: Tell the error as a JSON line on stdout too, for the program that reads it.
    """
    try:
        return command()
    except AbsaError as error:
        message, code = str(error), error.exit_code
    except KeyboardInterrupt:
        message, code = "interrupted", ExitCode.INTERRUPTED
    except BrokenPipeError:
        raise  # whoever read our output has gone: the command line framework ends quietly
    except Exception as error:
        traceback.print_exc()
        message, code = _unforeseen(error), ExitCode.INTERNAL_ERROR
    if json_lines:
        record = {"event": "error", "message": message, "exit_code": code}
        print(json.dumps(record, separators=(",", ":")), flush=True)
    print(error_block(message, shutil.get_terminal_size().columns), file=sys.stderr)
    return code


def _unforeseen(error: Exception) -> str:
    return (
        f"{type(error).__name__}: {error}\nNobody foresaw this. If the traceback ends in code of "
        "your own, look there; else it is a fault of absa: please report it with the traceback."
    )


def error_block(message: str, columns: int) -> str:
    """Return a message as a block of lines that begins with ``error:``.

    Args:
        message: Its line breaks are kept.
        columns: Of the terminal; longer lines continue indented, words are never broken.
    """
    lines = [
        textwrap.fill(
            text,
            min(columns, _MAX_COLUMNS),
            subsequent_indent=" " * (len(text) - len(text.lstrip(" -")) + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for text in f"error: {message}".splitlines()
    ]
    return "\n".join(lines)
