"""The real cause in what Ray Train raises, without its wall of text."""

import re

_GO_ON = "go on with --resume"


class LostPeerError(RuntimeError):
    """A collective failed on this rank: another rank has died or cannot be reached."""


def why_lost(error: BaseException | None) -> str:
    """Say in a few lines why the worker group was lost for good.

    Args:
        error: What ``fit`` raised; None if it ended although the run did not.
    """
    from ray.exceptions import RayActorError
    from ray.train import WorkerGroupError

    if error is None:
        return f"the workers ended without finishing the run; {_GO_ON}"
    if isinstance(error, WorkerGroupError):
        return (
            f"workers were lost more often than workers.max_restarts allows; {_GO_ON} "
            f"when the cause is gone. The last time:\n{_causes(error.worker_failures)}"
        )
    if isinstance(error, RayActorError):
        return f"the process that controls the workers was lost ({_brief(error)}); {_GO_ON}"
    cause = getattr(error, "controller_failure", error)
    return f"{type(cause).__name__}: {_brief(cause)}"


def _causes(failures: dict[int, Exception]) -> str:
    """One line per rank; those that only lost a peer are left out if another says why."""
    roots = {rank: e for rank, e in failures.items() if not _is_lost_peer(e)}
    return "\n".join(
        f"  rank {rank}: {_brief(getattr(e, 'health_check_failure', e))}"
        for rank, e in sorted((roots or failures).items())
    )


def _is_lost_peer(error: BaseException) -> bool:
    # Ray Train wraps what a worker raised, and keeps its traceback as text.
    return isinstance(error, LostPeerError) or LostPeerError.__name__ in str(error)


def _brief(error: BaseException) -> str:
    """Return the last line of a traceback, or the first of a message, without colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "Traceback" in text or "creation task" in text else lines[0]
