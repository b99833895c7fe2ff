"""What an operator may ask of a run that is training, and what becomes of it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Self

from absa.boundary import Command
from absa.errors import ConfigError
from cluster.elastic.wish import Wish
from cluster.job import Job


@dataclass(frozen=True)
class Order:
    """One thing that is asked for; the others are None.

    Args:
        wish: So many workers.
        hold: Whether the policy is to keep everything as it is.
        max_batch: The largest global batch that the policy may choose, in samples.
    """

    wish: int | None = None
    hold: bool | None = None
    max_batch: int | None = None

    @classmethod
    def read(cls, message: bytes) -> Self | None:
        """Return the order that a message holds; None if it holds none."""
        try:
            found: object = json.loads(message)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or len(found) != 1:
            return None
        said: dict[str, Any] = found
        ((name, value),) = said.items()
        # Neither is 1 a bool here, nor True an int.
        return cls(**said) if type(value) is _KINDS.get(name) else None

    def write(self) -> bytes:
        """Return the message that `read` turns into this order."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(said).encode()


_KINDS = {"wish": int, "hold": bool, "max_batch": int}


class Operator:
    """Obeys, or says why not; called from any thread.

    Args:
        job: The resolved job.
        wish: Takes the number of workers, and knows the batch that is in force.
        command: Leaves a command for rank 0.
    """

    def __init__(self, job: Job, wish: Wish, command: Callable[[Command], None]) -> None:
        self._job, self._wish, self._command = job, wish, command

    def obey(self, order: Order) -> str:
        """Do what is asked and say so.

        Raises:
            ConfigError: It cannot be done; nothing has changed.
        """
        if order.wish is not None:
            self._wish.ask(order.wish)
            return f"{order.wish} worker(s) are wanted from now on"
        if order.max_batch is not None:
            return self._limit(order.max_batch)
        what = "hold everything as it is" if order.hold else "let the policy decide"
        self._command(Command(f"an operator asked to {what}", hold=order.hold))
        return "everything is held as it is" if order.hold else "the policy decides again"

    def _limit(self, max_batch: int) -> str:
        batch, largest = self._wish.global_batch, self._job.batch.max
        assert largest is not None
        if max_batch < batch:
            raise ConfigError(
                f"a largest batch of {max_batch} is below the batch of {batch} that is in force: "
                f"ask for {batch} to {largest}"
            )
        if max_batch > largest:
            raise ConfigError(
                f"a largest batch of {max_batch} is above batch.max = {largest} of this run; ask "
                f"for {batch} to {largest}, or resume it with --set batch.max={max_batch}"
            )
        self._command(
            Command(f"an operator set the largest batch to {max_batch}", max_batch=max_batch)
        )
        return f"the batch grows to {max_batch} at most from now on"
