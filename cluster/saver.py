"""Copies the state at a boundary and has it written in the background."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from absa.background_writer import BackgroundWriter
from absa.checkpoint import CheckpointInfo, checkpoint_name, freely
from absa.events import Record
from absa.retention import prune
from absa.run_folder import RunFolder
from absa.state import StateTree, clone_to_host
from cluster.job import Job


class FolderSaver:
    """Saves to a run folder; on ranks other than 0 it does nothing, for their state is the same.

    Leave its ``with`` block before what ``on_written`` writes to is closed.

    Args:
        folder: The run's folder.
        job: The resolved job, stored in every checkpoint.
        on_written: Called with each checkpoint's record, from the writing thread.
        rank: This process's rank.
        permit: As `absa.checkpoint.save_checkpoint` takes it.
    """

    def __init__(
        self,
        folder: RunFolder,
        job: Job,
        on_written: Callable[[Record], None],
        *,
        rank: int,
        permit: Callable[[], None] = freely,
    ) -> None:
        self._folder, self._rank, self._on_written = folder.checkpoints, rank, on_written
        self._config, self._job = job.checkpoint, job.model_dump(mode="json")
        self._writer = BackgroundWriter(self._folder, self._written, permit)
        self._last: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A run that fails must not leave a checkpoint half written or unrecorded.
        self._writer.__exit__(kind, error, traceback)

    def save(self, tree: StateTree, about: Record) -> None:
        """Copy ``tree`` and write it in the background, after the one before it."""
        if self._rank == 0:
            name = checkpoint_name(about["update"], about["lineage"])
            self._writer.submit(name, clone_to_host(tree), self._job, about)

    def finish(self, about: Record) -> str | None:
        """Wait until all is written; return the name of the last checkpoint."""
        self._writer.wait()
        return self._last

    def last_location(self) -> str | None:
        """Return where the newest checkpoint that is safely written lies."""
        return None if self._last is None else self._folder.child(self._last).location

    def _written(self, info: CheckpointInfo) -> None:
        self._last = info.name
        prune(self._folder, self._config.keep_last, keep_best=self._config.keep_best)
        stamp = {k: info.about[k] for k in ("lineage", "generation", "update", "samples", "time")}
        self._on_written(
            {
                "event": "checkpoint",
                **stamp,
                "checkpoint": info.name,
                "seconds": info.seconds,
                "bytes": info.num_bytes,
                "best": info.about["best"],
            }
        )
