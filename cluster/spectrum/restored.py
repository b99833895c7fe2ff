"""A run's model as it was at one of its checkpoints."""

import re
from dataclasses import dataclass

import torch

from absa.checkpoint import load_checkpoint
from absa.errors import ConfigError
from absa.progress import Progress
from absa.retention import choose
from absa.run_folder import RunFolder, open_run
from absa.run_state import restore
from absa.state import StateTree
from absa.update.replica import Replica
from cluster.compose import compose
from cluster.job import Job
from cluster.job_rules import resolve
from cluster.job_yaml import write_yaml
from cluster.load_job import parse_job

_CHECKPOINT = re.compile(r"(?P<run>.+)/checkpoints/(?P<name>update-[^/?]+)/*(?P<query>\?.*)?")


@dataclass(frozen=True)
class Restored:
    """A model and where it comes from.

    Args:
        run: The run.
        checkpoint: Its name.
        job: That the checkpoint was written by.
        replica: Holds the model and its data.
        progress: How far training had come.
    """

    run: RunFolder
    checkpoint: str
    job: Job
    replica: Replica
    progress: Progress


def find(reference: str, checkpoint: str | None, storage: str) -> tuple[RunFolder, str]:
    """Return the run and the checkpoint that are meant.

    Args:
        reference: A run, as `open_run` takes it, or the path or URL of one of its checkpoints.
        checkpoint: ``newest``, ``best`` or a name; None: that of the reference, or the newest.
        storage: Where runs are looked for by name.

    Raises:
        CheckpointError: There is no such run, or it has no checkpoint yet.
        ConfigError: The checkpoint is said twice.
    """
    named = _CHECKPOINT.fullmatch(reference)
    if named is None:
        run = open_run(reference, storage)
        return run, choose(run.checkpoints, checkpoint or "newest")
    if checkpoint is not None:
        raise ConfigError(
            f"{reference} names a checkpoint, and --checkpoint {checkpoint} does too; leave one out"
        )
    return open_run(named["run"] + (named["query"] or ""), storage), named["name"]


def read(run: RunFolder, checkpoint: str) -> tuple[StateTree, Job]:
    """Return what a checkpoint holds and the job that it was written by.

    Args:
        run: The run.
        checkpoint: Its name.

    Raises:
        InputError: It is missing or damaged, or of another version.
    """
    tree, saved_with, _ = load_checkpoint(run.checkpoints, checkpoint)
    file = f"{run.checkpoints.location}/{checkpoint}"
    return tree, resolve(parse_job(write_yaml(saved_with).encode(), file))


def build(run: RunFolder, checkpoint: str, tree: StateTree, job: Job) -> Restored:
    """Build the model that a checkpoint is of, and put its weights into it.

    Args:
        run: The run.
        checkpoint: Its name.
        tree: What it holds.
        job: That it was written by.

    Raises:
        InputError: The task or its data cannot be used, or the model is another one now.
    """
    # What the run's own measurements remember is not needed, nor a trial of one.
    unmeasured = job.curvature.model_copy(update={"every_epochs": None})
    composed = compose(job.model_copy(update={"curvature": unmeasured}), device_of(job))
    state = restore(composed.replica, tree)
    return Restored(run, checkpoint, job, composed.replica, state.progress)


def device_of(job: Job) -> torch.device:
    """Return a GPU if the job has trained on some and there is one here."""
    return torch.device("cuda" if job.workers.gpus and torch.cuda.is_available() else "cpu")
