"""What a rank wants all ranks to do at the next boundary: it rides on the update before."""

from absa.loop.training import Training
from absa.update.scalars import Flags


def wanted(training: Training) -> Flags:
    """Return the flags that this rank raises with its next update; each is on its way only once."""
    outside, rules = training.outside, training.rules
    flags = Flags(regroup=outside.collective.superseded)
    if outside.collective.rank == 0:
        time_s = rules.stop.time_s
        flags |= Flags(
            command=training.decided is not None or outside.boundary.waiting(),
            checkpoint=training.save_again or _is_due(training),
            time_up=time_s is not None and training.training_s >= time_s,
        )
    return flags.without(training.raised) if flags else flags


def _is_due(training: Training) -> bool:
    every_s = training.rules.checkpoint_s
    return every_s is not None and training.clock() - training.saved_s >= every_s
