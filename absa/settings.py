"""What may change in a running job, the same on every rank and in force from one update on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How the next updates are made.

    Args:
        global_batch: Samples in one update, over all ranks and passes.
        micro_batch: Most samples that go through the model at once.
    """

    global_batch: int
    micro_batch: int
