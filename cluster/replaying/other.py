"""The job of a run with another policy: from a file, from overrides, or both."""

from dataclasses import dataclass
from pathlib import Path

from absa.errors import ConfigError
from absa.run_folder import JOB_FILE, RunFolder
from cluster.job import Job
from cluster.job_rules import resolve
from cluster.job_yaml import Draft, Finding
from cluster.load_job import checked_job, read_draft, read_file
from cluster.run_job import forget, override_run
from cluster.show_value import Keys


@dataclass(frozen=True)
class Other:
    """Which policy to ask instead.

    Args:
        file: Holds a ``policy`` section or its content; None: the run's own.
        overrides: Of the job, each ``a.b=value``.
    """

    file: Path | None = None
    overrides: tuple[str, ...] = ()


def other_job(run: RunFolder, other: Other) -> Job:
    """Return the job of a run with another policy, resolved.

    Args:
        run: The run.
        other: The policy.

    Raises:
        ConfigError: It cannot be read, is wrong, or contradicts the rest of the job.
    """
    file = f"{run.location}/{JOB_FILE}"
    draft = read_draft(run.storage.read(JOB_FILE), file)
    if other.file is not None:
        _put(draft, other.file)
    override_run(draft, other.overrides)
    return resolve(checked_job(draft, file))


def _put(draft: Draft, path: Path) -> None:
    """Replace the section of a job by that of a file."""
    found = read_draft(read_file(path), str(path))
    prefix: Keys = ()
    if "policy" in found.data:
        _check_alone(found, path)
        prefix = ("policy",)
    section = found.data["policy"] if prefix else found.data
    forget(draft, ("policy",))
    draft.data["policy"] = section
    cut = len(prefix)
    moved = {keys: mark for keys, mark in found.marks.items() if keys[:cut] == prefix}
    draft.marks |= {("policy", *keys[cut:]): mark for keys, mark in moved.items()}
    draft.findings += [Finding(("policy", *one.keys[cut:]), one.message) for one in found.findings]


def _check_alone(found: Draft, path: Path) -> None:
    others = [str(key) for key in found.data if key != "policy"]
    if others:
        mark = found.marks.get((others[0],))
        raise ConfigError(
            f"{mark.place if mark else path}: {', '.join(others)} would not be read: a replay "
            "takes the policy section of this file, or its content, and the rest from the run's "
            "own job; remove it, or change single values with --set"
        )
