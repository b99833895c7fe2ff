"""Asks a policy again, at every point at which the recorded one was asked.

The signals are the recorded ones; batch, learning rate and what the policy remembers follow its own
decisions. Asked the policy of the run itself, it gives the recorded decisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from absa.order import next_range
from absa.policy.decide import Decider, PolicyState
from absa.policy.decided import Decided, overtaken
from absa.policy.decision import Decision
from absa.policy.limits import Limits
from absa.policy.observation import Observation
from absa.policy.rungs import within
from absa.policy.standpoint import Heard, limits_under, see, settings_after
from absa.settings import Settings
from absa.signals import Curvature, FallTest
from cluster.job_policy import Deciding
from cluster.replaying.moments import Moment, Order


@dataclass(frozen=True)
class Step:
    """What the other policy decides at one point.

    Args:
        moment: The point, with what the recorded one decided there.
        decision: What this one does.
        undecidable: Whether it may have decided otherwise, had the curvature been measured for it:
            the measurement ended early, as soon as it had answered the question of the recorded
            policy, and leaves this one's open.
        in_force_at: Samples after which the decision is in force; None: it came to nothing.
    """

    moment: Moment
    decision: Decision
    undecidable: bool
    in_force_at: int | None


EARLY = ("fallen", "not_fallen")
"""How a measurement of curvature says that it ended as soon as it had answered a question."""


@dataclass(frozen=True)
class _Coming:
    """A decision that is on its way to all ranks.

    ``due`` is the number of samples from which on it is in force; ``dropped``, whether the journal
    says that what was decided at its point came to nothing.
    """

    decided: Decided
    due: int
    dropped: bool


@dataclass(frozen=True)
class _Stand:
    """Where the hypothetical run stands.

    ``measured_at`` is when the curvature was measured last, ``answered`` whether that tells what
    the policy wanted to know then.
    """

    settings: Settings
    known: PolicyState = field(default_factory=PolicyState)
    coming: _Coming | None = None
    measured_at: int | None = None
    answered: bool = True


def replay(policy: Deciding, moments: Sequence[Moment]) -> list[Step]:
    """Return what a policy decides on recorded signals.

    Points that come while a decision is on its way to all ranks are left out, as in a run.

    Args:
        policy: Who decides.
        moments: In order.
    """
    stand, steps, orders = _Stand(policy.start), list[Step](), list[Order]()
    for moment in moments:
        orders += moment.orders
        if stand.coming is not None and moment.samples < stand.coming.due:
            stand = _measured(stand, policy.decider, moment.heard)
            continue
        stand, lost = _arrive(stand, orders)
        orders.clear()
        if lost:
            steps[-1] = replace(steps[-1], in_force_at=None)
        stand, step = _decide(policy, stand, moment)
        steps.append(step)
    return steps


def _arrive(stand: _Stand, orders: Sequence[Order]) -> tuple[_Stand, bool]:
    """Put in force what has come since the last point; return whether a decision was dropped.

    As in the loop, what an operator orders goes first.
    """
    coming, settings, known = stand.coming, stand.settings, stand.known
    due = 0 if coming is None else coming.due
    settings = _obey(settings, [order for order in orders if order.samples <= due])
    lost = False
    if coming is not None:
        decision = coming.decided.decision
        lost = coming.dropped or overtaken(decision, settings) is not None
        if not lost:
            settings, known = _follow(settings, decision, due), coming.decided.known
    settings = _obey(settings, [order for order in orders if order.samples > due])
    return replace(stand, settings=settings, known=known, coming=None), lost


def _obey(settings: Settings, orders: Sequence[Order]) -> Settings:
    for order in orders:
        settings = order.command.settings(settings).following(settings, order.samples)
    return settings


def _follow(settings: Settings, decision: Decision, samples: int) -> Settings:
    """Return the settings after a decision; how the rate climbs there decides nothing."""
    return settings_after(settings, decision, samples) if decision.changes else settings


def _measured(stand: _Stand, decider: Decider, heard: Heard) -> _Stand:
    """Take note of a new measurement of curvature, and whether it answers what is wanted now."""
    found = heard.curvature
    if found is None or heard.curvature_at == stand.measured_at:
        return stand
    question, answered = decider.question(stand.known), True
    if found.stopped in EARLY:
        answered = question is not None and not _holds(found, question)
    return replace(stand, measured_at=heard.curvature_at, answered=answered)


def _holds(found: Curvature, question: FallTest) -> bool:
    """Return whether an interval leaves a question open."""
    return found.lower <= question.level < found.upper


def _decide(policy: Deciding, stand: _Stand, moment: Moment) -> tuple[_Stand, Step]:
    stand = _measured(stand, policy.decider, moment.heard)
    settings, course = stand.settings, policy.course
    seen = see(course, settings, moment.heard, moment.samples, moment.update)
    limits = limits_under(settings, policy.limits)
    known, decision = policy.decider.decide(stand.known, seen, limits)
    _, start, stop = next_range(moment.samples, settings.global_batch, course.num_train)
    due = moment.samples + stop - start
    if decision.changes or known != stand.known:
        coming = _Coming(Decided(decision, known), due, moment.dropped)
        stand = replace(stand, coming=coming)
    open_now = not stand.answered and _is_open(policy.decider, known, seen, limits)
    undecidable = open_now and decision.after.batch == decision.before.batch
    return stand, Step(moment, decision, undecidable, due)


def _is_open(decider: Decider, known: PolicyState, seen: Observation, limits: Limits) -> bool:
    """Return whether the last measurement leaves the policy's question open."""
    question, found = decider.question(known), seen.curvature
    warms = decider.warming is not None and not decider.warming.is_over(seen, limits)
    largest = within(limits.max_batch, limits) <= seen.global_batch
    if question is None or found is None or warms or largest or limits.hold:
        return False  # the policy does not ask
    return _holds(found, question)
