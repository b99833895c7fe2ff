"""What no decision may exceed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The same for every policy; an operator may change them while the job trains.

    Args:
        max_batch: The largest global batch, in samples.
        min_batch: The smallest.
        unit: Every batch is a multiple of it: the samples of one batch-norm group, or 1.
        of_job: The largest batch of the job where an operator allows less; None: the same.
        hold: An operator wants everything kept as it is.
    """

    max_batch: int
    min_batch: int = 1
    unit: int = 1
    of_job: int | None = None
    hold: bool = False

    @property
    def final_batch(self) -> int:
        """Where growth ends in the end, whatever an operator allows for now."""
        return self.max_batch if self.of_job is None else self.of_job


NO_LIMITS = Limits(max_batch=2**31)
"""More samples than any data set has."""
