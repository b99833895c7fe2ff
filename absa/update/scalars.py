"""The few numbers of an update that ride at the end of the gradient buffer."""

from dataclasses import dataclass

LOSS, WEIGHT, COMMAND, CHECKPOINT, TIME_UP = range(5)
NUM_SCALARS = 5
"""Batch-norm statistics follow these in the buffer."""


@dataclass(frozen=True)
class Flags:
    """What a rank wants all ranks to do at the next boundary; a flag is up if any rank raised it.

    Args:
        command: A command waits at rank 0.
        checkpoint: A checkpoint is due.
        time_up: The time limit of the run is reached.
    """

    command: bool = False
    checkpoint: bool = False
    time_up: bool = False

    def __or__(self, other: "Flags") -> "Flags":
        """Raise what either raises."""
        return Flags(
            self.command or other.command,
            self.checkpoint or other.checkpoint,
            self.time_up or other.time_up,
        )


@dataclass(frozen=True)
class UpdateResult:
    """What became of one update, the same on every rank.

    Args:
        num_samples: Samples it consumed.
        loss: Mean loss over them.
        gradient_norm: Norm of the mean gradient, before clipping.
        applied: False if the loss or the gradient was not finite: the weights stayed as they were.
        flags: What the ranks asked for.
    """

    num_samples: int
    loss: float
    gradient_norm: float
    applied: bool
    flags: Flags
