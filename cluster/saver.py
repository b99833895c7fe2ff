"""Copies the state at a boundary and has it written in the background."""

from collections.abc import Callable

from absa.checkpoint import BackgroundWriter, CheckpointInfo
from absa.events import Record
from absa.run_folder import RunFolder
from absa.state import StateTree, clone_to_host
from cluster.job import Job


class FolderSaver:
    """Saves to a run folder; on ranks other than 0 it does nothing, for their state is the same.

    Args:
        folder: The run's folder.
        job: The resolved job, stored in every checkpoint.
        on_written: Called with each checkpoint's record, from the writing thread.
        rank: This process's rank.
    """

    def __init__(
        self, folder: RunFolder, job: Job, on_written: Callable[[Record], None], *, rank: int
    ) -> None:
        self._folder, self._rank, self._on_written = folder, rank, on_written
        self.last: str | None = None
        self._writer = BackgroundWriter(
            folder.checkpoints, job.checkpoint, job.model_dump(mode="json"), self._written
        )

    def save(self, tree: StateTree, about: Record) -> None:
        """Copy ``tree`` and write it in the background, after the one before it."""
        if self._rank == 0:
            self._writer.submit(clone_to_host(tree), about)

    def finish(self, about: Record) -> str | None:
        """Wait until all is written; return the name of the last checkpoint."""
        self._writer.wait()
        return self.last

    def last_location(self) -> str | None:
        """Return where the newest checkpoint that is safely written lies."""
        return None if self.last is None else self._folder.checkpoints.child(self.last).location

    def _written(self, info: CheckpointInfo) -> None:
        self.last = info.name
        self._on_written(info.record)
