"""How the `absa` command ends."""

from enum import IntEnum

from absa.errors import AbsaError


class ExitCode(IntEnum):
    """Exit codes of every `absa` command; an `AbsaError` carries its own."""

    FINISHED = 0
    INTERNAL_ERROR = 1
    BAD_INPUT = 2
    TRAINING_FAILED = 3
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.FINISHED: "finished",
    ExitCode.INTERNAL_ERROR: "an error nobody foresaw, shown with a traceback",
    ExitCode.BAD_INPUT: "bad input: nothing was started or changed",
    ExitCode.TRAINING_FAILED: "training failed: it diverged, the task failed, or workers were lost",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C, after a checkpoint",
}


def exit_code(reason: str) -> ExitCode:
    """Return the exit code of a run that ended for ``reason``, as ``run_ended`` records it."""
    if reason == "interrupted":
        return ExitCode.INTERRUPTED
    if reason == "diverged":
        return ExitCode.TRAINING_FAILED
    return ExitCode.FINISHED


class TrainingFailedError(AbsaError):
    """Training began and cannot go on."""

    exit_code = int(ExitCode.TRAINING_FAILED)
