"""From a composed job to the end of its training, the same on one process and on many."""

import torch

from absa.checkpoint import load_checkpoint, newest
from absa.collective import Collective
from absa.loop import Loop, Outcome, Outside
from absa.run_folder import RunFolder
from absa.run_state import restore
from cluster.compose import Composed, describe
from cluster.job import Job


def train(job: Job, composed: Composed, folder: RunFolder, outside: Outside) -> Outcome:
    """Train from the run's newest checkpoint, or from the start if it has none.

    Args:
        job: The resolved job.
        composed: What was built from it; its weights are overwritten.
        folder: The run's folder.
        outside: What the loop is connected to.
    """
    checkpoint = newest(folder.checkpoints)
    start = composed.start
    if checkpoint is not None:
        tree, _, _ = load_checkpoint(folder.checkpoints, checkpoint)
        start = restore(composed.replica, tree)
    _agree(composed, outside.collective)
    about = describe(composed, job, outside.collective.world_size)
    loop = Loop(
        composed.replica,
        composed.evaluation,
        composed.metric_names,
        composed.rules,
        outside,
        start,
    )
    return loop.train(about | {"run": folder.name, "resumed_from": checkpoint})


def _agree(composed: Composed, collective: Collective) -> None:
    """Give every rank rank 0's weights: a model of the user's need not be built reproducibly."""
    if collective.world_size > 1:
        with torch.no_grad():
            collective.broadcast(list(composed.replica.model.state_dict().values()), source=0)
