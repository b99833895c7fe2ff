"""Checkpoints of a Ray Train run: written by us, and made known to Ray Train."""

from typing import Any

import ray.train

from absa.events import Record
from absa.state import StateTree
from cluster.saver import FolderSaver


class RaySaver:
    """Saves to the run folder and reports finished checkpoints to Ray Train.

    ``ray.train.report`` is a barrier over all ranks with a queue of one that Ray Train empties
    every two seconds, so only checkpoints that are due by time and the last one are reported, and
    only once they are safely written: a checkpoint is reported when the next one is due.
    """

    def __init__(self, saver: FolderSaver) -> None:
        self._saver = saver

    def save(self, tree: StateTree, about: Record) -> None:
        """Write ``tree`` in the background; every rank calls with the same ``about``."""
        if about["why"] == "due":
            self._report(about)
        self._saver.save(tree, about)

    def finish(self, about: Record) -> str | None:
        """Wait until all is written, report it, and return the name of the last checkpoint."""
        name = self._saver.finish(about)
        self._report(about)
        return name

    def _report(self, about: Record) -> None:
        metrics: dict[str, Any] = {"update": about["update"], "samples": about["samples"]}
        metrics |= about["metrics"] or {}
        location = self._saver.last_location()
        ray.train.report(
            metrics,
            checkpoint=None if location is None else ray.train.Checkpoint(location),
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
        )
