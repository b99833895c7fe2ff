"""From a composed job to the end of its training, the same on one process and on many."""

from dataclasses import dataclass

import torch

from absa.checkpoint import load_checkpoint, newest
from absa.collective import Collective
from absa.loop import Loop, Outcome
from absa.outside import Outside
from absa.run_folder import RunFolder
from absa.run_state import RunState, restore
from cluster.compose import Composed, describe, model_key
from cluster.job import Job
from cluster.placed import placed


@dataclass(frozen=True)
class Beginning:
    """Where training begins.

    Args:
        state: What evolves beside the tensors.
        checkpoint: The checkpoint that it is from, or None at the very beginning.
    """

    state: RunState
    checkpoint: str | None


def begin(composed: Composed, folder: RunFolder) -> Beginning:
    """Put the run's newest checkpoint into the replica, if it has one.

    Raises:
        CheckpointError: It is damaged, or belongs to another model.
    """
    checkpoint = newest(folder.checkpoints)
    if checkpoint is None:
        return Beginning(composed.start, None)
    tree, _, _ = load_checkpoint(folder.checkpoints, checkpoint)
    return Beginning(restore(composed.replica, tree), checkpoint)


def train(
    job: Job, composed: Composed, beginning: Beginning, run: str, outside: Outside
) -> Outcome:
    """Train to the end.

    Args:
        job: The resolved job.
        composed: What was built from it.
        beginning: What `begin` returned.
        run: The run's name, for the journal.
        outside: What the loop is connected to.
    """
    _agree(composed, outside.collective)
    about = describe(composed, job, outside.collective.world_size)
    loop = Loop(
        composed.replica,
        composed.evaluation,
        composed.metric_names,
        composed.rules,
        outside,
        beginning.state,
    )
    with placed(job, model_key(job)):
        return loop.train(about | {"run": run, "resumed_from": beginning.checkpoint})


def _agree(composed: Composed, collective: Collective) -> None:
    """Give every rank rank 0's weights: a model of the user's need not be built reproducibly."""
    if collective.world_size > 1:
        with torch.no_grad():
            collective.broadcast(list(composed.replica.model.state_dict().values()), source=0)
