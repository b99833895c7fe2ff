"""Writing checkpoints while training goes on."""

from collections.abc import Callable, Mapping
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from absa.checkpoint import CheckpointInfo, freely, save_checkpoint
from absa.state import Json, StateTree
from absa.storage import Storage


class BackgroundWriter:
    """Saves one checkpoint at a time in a thread.

    At most one snapshot is being written and none is queued, so memory holds one copy of the state.
    No failure is lost: it is raised by the next `submit`, `check` or `wait`, once, or when the
    ``with`` block ends.

    Args:
        folder: The run's ``checkpoints``.
        on_done: Called in the writer's thread when a checkpoint exists; if it raises, that counts
            as the writer's failure.
        permit: As `save_checkpoint` takes it.
    """

    def __init__(
        self,
        folder: Storage,
        on_done: Callable[[CheckpointInfo], None],
        permit: Callable[[], None] = freely,
    ) -> None:
        self._folder, self._permit = folder, permit
        self._on_done = on_done
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def submit(
        self, name: str, snapshot: StateTree, job: Mapping[str, Any], about: Mapping[str, Json]
    ) -> None:
        """Begin to write a checkpoint, after waiting for the one before.

        Args:
            name: As `checkpoint_name` makes it.
            snapshot: A copy that nobody changes (`clone_to_host`).
            job: The resolved job.
            about: Small facts about it, as `save_checkpoint` takes them.

        Raises:
            CheckpointError: The one before failed; this one is not written then.
        """
        self.wait()
        self._pending = self._executor.submit(self._save, name, snapshot, job, about)

    def check(self) -> None:
        """Raise what a finished save failed with; never waits."""
        if self._pending is not None and self._pending.done():
            self.wait()

    def wait(self) -> None:
        """Return when nothing is being written.

        Raises:
            CheckpointError: The save failed.
        """
        if self._pending is not None:
            # Still pending if Ctrl-C ends the waiting: the failure must not be lost with it.
            futures.wait([self._pending])
            pending, self._pending = self._pending, None
            pending.result()

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown()
        failure = self._pending.exception() if self._pending is not None else None
        if failure is None:
            return
        if error is None:
            raise failure
        # What ended the block is what the user must see first; this must not replace it.
        error.add_note(f"Besides, a checkpoint could not be written: {failure}")

    def _save(
        self, name: str, snapshot: StateTree, job: Mapping[str, Any], about: Mapping[str, Json]
    ) -> None:
        info = save_checkpoint(self._folder, name, snapshot, job, about, self._permit)
        self._on_done(info)
