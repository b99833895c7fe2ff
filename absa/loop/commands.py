"""Takes the command that waits at rank 0 and puts it in force on every rank."""

from dataclasses import asdict

from absa.boundary import Command
from absa.loop.observing import observe
from absa.loop.training import Training
from absa.optim.build import rescale_momentum
from absa.update.scalars import Flags


def receive(training: Training) -> None:
    """Take rank 0's command on every rank, and put its settings in force.

    There may be none: the rank 0 that announced it was lost, and the next one does not have it yet.
    """
    command = _broadcast(training)
    doing = training.standing.doing.without(Flags(command=True))
    training.step_done(doing=doing, command=command)
    if command is None:
        return
    old, new = training.settings, command.settings(training.settings)
    if new == old:
        return
    observe(training)  # an observation speaks of one setting
    samples = training.progress.samples
    jump = training.rules.learning_rate.jump(samples, old, new)
    rescale_momentum(training.replica.optimizer, jump)
    training.settings = new
    was, now = asdict(old), asdict(new)
    changed = {name: [was[name], now[name]] for name in now if now[name] != was[name]}
    training.record("settings", changed=changed, reason=command.reason)


def _broadcast(training: Training) -> Command | None:
    collective, boundary = training.outside.collective, training.outside.boundary
    # If this failed before, the boundary has handed its command out already.
    if collective.rank == 0 and training.taken is None and boundary.waiting():
        training.taken = boundary.take()
    command: Command | None = collective.broadcast_value(training.taken, source=0)
    training.taken = None
    return command
