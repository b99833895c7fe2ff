"""From a composed job to the end of its training, the same on one process and on many."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from absa.checkpoint import load_checkpoint, newest
from absa.collective import ALONE, Collective
from absa.errors import ConfigError, DataError
from absa.loop import Loop, Outcome
from absa.optim.build import rescale_momentum
from absa.outside import Outside
from absa.run_folder import RunFolder
from absa.run_state import RunState, restore
from absa.settings import Settings
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


def begin(
    job: Job, composed: Composed, folder: RunFolder, collective: Collective = ALONE
) -> Beginning:
    """Put the run's newest checkpoint into the replica, if it has one.

    Rank 0 says which one that is: a group that was replaced may still be writing another, and a
    rank that does not see the run's folder must fail, not begin anew beside the others.

    Args:
        job: The resolved job.
        composed: What was built from it; the optimizer's momentum is corrected if the batch
            was changed since the checkpoint.
        folder: The run's.
        collective: The ranks.

    Raises:
        CheckpointError: It is missing or damaged, or belongs to another model.
    """
    mine = newest(folder.checkpoints) if collective.rank == 0 else None
    checkpoint: str | None = collective.broadcast_value(mine, source=0)
    if checkpoint is None:
        return Beginning(composed.start, None)
    tree, saved_with, _ = load_checkpoint(folder.checkpoints, checkpoint)
    state = restore(composed.replica, tree)
    old = state.settings
    new = _settings(job, saved_with, old, composed.start.settings)
    if new == old:
        return Beginning(state, checkpoint)
    new = new.following(old, state.progress.samples)
    jump = composed.rules.learning_rate.jump(state.progress.samples, old, new)
    rescale_momentum(composed.replica.optimizer, jump)
    return Beginning(replace(state, settings=new), checkpoint)


def _settings(job: Job, saved_with: Mapping[str, Any], old: Settings, start: Settings) -> Settings:
    """Return what a resumed run goes on with.

    What the user has changed since the checkpoint holds; the rest is that of the checkpoint, which
    the run may have changed itself.

    Raises:
        ConfigError: The batch is above what the job allows now.
    """
    then = saved_with.get("batch", {})
    changed = {name for name in ("initial", "micro") if then.get(name) != getattr(job.batch, name)}
    new = old
    if "initial" in changed:
        new = replace(old, global_batch=start.global_batch, lr_scale=None, ramp_samples=0)
    if changed:
        new = replace(new, micro_batch=start.micro_batch)
    assert job.batch.max is not None
    if new.global_batch > job.batch.max:
        raise ConfigError(
            f"{job.place('batch.max')}: batch.max is {job.batch.max}, but the checkpoint trains "
            f"with {new.global_batch}: allow as much, or set batch.initial as well to begin again "
            "from there"
        )
    return new


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
        composed.instruments,
        composed.rules,
        outside,
        beginning.state,
    )
    with placed(job, model_key(job)):
        return loop.train(about | {"run": run, "resumed_from": beginning.checkpoint})


def _agree(composed: Composed, collective: Collective) -> None:
    """Give every rank rank 0's weights: a model of the user's need not be built reproducibly.

    Raises:
        DataError: This worker has other data than rank 0: the two would take other samples.
    """
    if collective.world_size > 1:
        mine = composed.data
        theirs = collective.broadcast_value(mine, source=0)
        if mine != theirs:
            raise DataError(
                f"rank {collective.rank} has training samples, evaluation samples and metrics "
                f"{mine}, rank 0 has {theirs}; every worker must see the same data"
            )
        with torch.no_grad():
            collective.broadcast(list(composed.replica.model.state_dict().values()), source=0)
