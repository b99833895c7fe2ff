"""Takes what waits at rank 0, a command or a decision, and puts it in force on every rank."""

from dataclasses import asdict, dataclass

from absa.boundary import ORDERED, Command
from absa.loop.deciding import change, drop, put_in_force
from absa.loop.observing import observe
from absa.loop.training import Training
from absa.policy.decided import Decided, overtaken
from absa.update.scalars import Flags


@dataclass(frozen=True)
class _News:
    """What rank 0 tells all ranks."""

    command: Command | None
    decided: Decided | None


def receive(training: Training) -> None:
    """Take rank 0's news on every rank, and put it in force; a command comes first.

    There may be none: the rank 0 that announced it was lost, and the next one does not have it yet.
    """
    news = _broadcast(training)
    doing = training.standing.doing.without(Flags(command=True))
    training.step_done(doing=doing, command=news.command)
    if news.command is not None:
        _obey(training, news.command)
    if news.decided is not None:
        _follow(training, news.decided)


def _obey(training: Training, command: Command) -> None:
    old = training.settings
    new = command.settings(old).following(old, training.progress.samples)
    if new != old:
        observe(training)  # an observation speaks of one setting
        change(training, new)
        was, now = asdict(old), asdict(new)
        changed = {name: [was[name], now[name]] for name in ORDERED if now[name] != was[name]}
        training.record("settings", changed=changed, reason=command.reason)


def _follow(training: Training, decided: Decided) -> None:
    observe(training)
    why = overtaken(decided.decision, training.settings)
    if why is None:
        put_in_force(training, decided)
    else:
        drop(training, decided, why)  # it is decided anew


def _broadcast(training: Training) -> _News:
    collective, boundary = training.outside.collective, training.outside.boundary
    # If this failed before, the boundary has handed its command out already.
    if collective.rank == 0 and training.taken is None and boundary.waiting():
        training.taken = boundary.take()
    news: _News = collective.broadcast_value(_News(training.taken, training.decided), source=0)
    training.taken = training.decided = None
    return news
