"""How many workers are wanted now: what the plan says, until an operator says a number."""

import threading
from dataclasses import dataclass

from absa.errors import ConfigError
from absa.events import Record
from cluster.elastic.plan import step_at, wanted
from cluster.job import Job


@dataclass(frozen=True)
class Wanted:
    """A number of workers.

    Args:
        workers: The number.
        reason: Why, for the journal.
        num_asked: How often operators have spoken: who says a number again means it again.
    """

    workers: int
    reason: str
    num_asked: int = 0


class Wish:
    """Follows the records of a run along its plan; an operator may speak at any time.

    Args:
        job: The resolved job.
        most: The largest number that can come true, at most ``workers.max``.
    """

    def __init__(self, job: Job, most: int) -> None:
        self._job, self.most = job, most
        self._turn = threading.Lock()
        self._asked: Wanted | None = None
        self._num_train: int | None = None
        self._samples = 0
        self.global_batch = job.batch.initial
        """The batch that is in force, as far as the records say."""

    @property
    def begun(self) -> bool:
        """Whether training has begun."""
        return self._num_train is not None

    def take(self, record: Record) -> None:
        """Take note of how far training has come.

        It never goes back: a group that was lost repeats some updates, and the plan would
        otherwise be taken back with them.
        """
        if record["event"] == "run_started":
            self._num_train = record["num_train"]
        self.global_batch = _batch(record) or self.global_batch
        self._samples = max(self._samples, record["samples"])

    def ask(self, workers: int) -> None:
        """Take an operator's number, from any thread; the plan does not count any more.

        Raises:
            ConfigError: It is not within the job's limits, or this machine cannot hold so many.
        """
        limits = self._job.workers
        assert limits.max is not None
        if not limits.min <= workers <= limits.max:
            raise ConfigError(
                f"{workers} workers are not within workers.min = {limits.min} and workers.max = "
                f"{limits.max} of this run; ask for {limits.min} to {self.most}, or resume it "
                "with other limits"
            )
        if workers > self.most:
            raise ConfigError(
                f"{workers} workers do not fit on this machine, {self.most} do; ask for "
                f"{limits.min} to {self.most}, or train on a larger cluster (cluster.address)"
            )
        with self._turn:
            num_asked = 1 + (0 if self._asked is None else self._asked.num_asked)
            self._asked = Wanted(workers, "asked for by an operator", num_asked)

    def now(self) -> Wanted:
        """Return what is wanted."""
        with self._turn:
            if self._asked is not None:
                return self._asked
        plan = self._job.elastic.plan
        epochs = self._samples / self._num_train if self._num_train else None
        number = wanted(plan, self._job.workers.min, self.most, epochs)
        if plan is None or epochs is None:
            return Wanted(number, f"as many as workers.max = {self._job.workers.max} allows")
        step = step_at(plan, epochs)
        since = "" if step is None else f" from epoch {step.epochs:g} on"
        return Wanted(number, f"planned{since}")


def _batch(record: Record) -> int | None:
    """Return the batch that is in force after a record; None if it does not say."""
    match record["event"]:
        case "run_started" | "observation":
            found = record.get("global_batch")
        case "decision":
            found = record["global_batch"][1]
        case "settings":
            found = record["changed"].get("global_batch", (None, None))[1]
        case _:
            found = None
    return found if isinstance(found, int) else None
