"""The one point between two updates where anything about a run may change."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from absa.errors import ConfigError
from absa.events import Record
from absa.settings import Settings

StopRequest = Literal["interrupted", "resized"]
"""interrupted: the run ends; resized: it goes on from its checkpoint with other workers."""


ORDERED = ("global_batch", "micro_batch", "hold", "max_batch")
"""The settings that a command may name."""

ASKED = ("stop", "checkpoint", *ORDERED)
"""What a command may ask for; each is None where it does not."""


@dataclass(frozen=True)
class Command:
    """What the outside asks of a run; None leaves a setting as it is.

    Args:
        reason: Who or what asked, for the journal.
        stop: Checkpoint and end.
        checkpoint: Checkpoint and go on.
        global_batch: Samples in one update from now on.
        micro_batch: Most samples that go through the model at once from now on.
        hold: Whether the policy is to keep everything as it is from now on.
        max_batch: The largest batch that the policy may choose from now on.

    Raises:
        ConfigError: A batch is not positive.
    """

    reason: str
    stop: StopRequest | None = None
    checkpoint: Literal["now"] | None = None
    global_batch: int | None = None
    micro_batch: int | None = None
    hold: bool | None = None
    max_batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("global_batch", "micro_batch", "max_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value} in a command ({self.reason}); at least 1")

    def after(self, waiting: "Command | None") -> "Command":
        """Return both this command and one that was not taken yet, as one; this one is newer."""
        if waiting is None:
            return self
        mine = {name: getattr(self, name) for name in ASKED}
        said = {n: getattr(waiting, n) if value is None else value for n, value in mine.items()}
        return Command(f"{waiting.reason}; {self.reason}", **said)

    def without_stop(self) -> "Command | None":
        """Return what is left when the run has stopped as asked; None if that is nothing."""
        rest = replace(self, stop=None)
        return rest if any(getattr(rest, name) is not None for name in ASKED) else None

    def settings(self, old: Settings) -> Settings:
        """Return what is in force from now on; with another batch the scaling rule holds again."""
        batch = self.global_batch or old.global_batch
        return replace(
            old if batch == old.global_batch else replace(old, lr_scale=None, ramp_samples=0),
            global_batch=batch,
            micro_batch=self.micro_batch or old.micro_batch,
            hold=old.hold if self.hold is None else self.hold,
            max_batch=self.max_batch or old.max_batch,
        )


class Boundary(Protocol):
    """What the loop needs from outside, on rank 0 only; no method blocks."""

    def record(self, record: Record) -> None:
        """Take note of what happened."""
        ...

    def waiting(self) -> bool:
        """Whether a command is waiting; asked at every update, so it must cost next to nothing."""
        ...

    def take(self) -> Command:
        """Return the waiting command, once."""
        ...
