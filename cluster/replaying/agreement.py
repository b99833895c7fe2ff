"""Whether a replay gives what was recorded: asked of the run's own policy, it must."""

from collections.abc import Sequence

from absa.events import Record
from absa.policy.decision import Decision, as_record
from cluster.replaying.moments import Moment
from cluster.replaying.replay import Step


def disagreements(moments: Sequence[Moment], steps: Sequence[Step]) -> list[Moment]:
    """Return the points at which a replay decided otherwise than the run did.

    Args:
        moments: All that were replayed; those without a recorded decision agree with everything.
        steps: What came of it.
    """
    decided = {step.moment.samples: step.decision for step in steps}
    return [
        moment
        for moment in moments
        if moment.said is not None and not is_same(decided.get(moment.samples), moment.said)
    ]


def is_same(decision: Decision | None, said: Record) -> bool:
    """Return whether a decision is the recorded one in all but its words.

    Args:
        decision: Of a replay; None: nothing was decided.
        said: The record.
    """
    if decision is None:
        return False
    mine = as_record(decision)
    return all(mine[key] == said.get(key) for key in mine if key not in _WORDS)


_WORDS = ("reason", "limited_by")
"""Another version of absa may say the same in other words."""
