"""Checkpoints of a Ray Train run: written by us, and made known to Ray Train."""

import json
import tempfile
from pathlib import Path
from typing import Any

import ray.train

from absa.events import Record
from absa.state import StateTree
from cluster.saver import FolderSaver

POINTER_FILE = "absa-checkpoint.json"


class RaySaver:
    """Saves to the run folder and reports finished checkpoints to Ray Train.

    ``ray.train.report`` is a barrier over all ranks with a queue of one that Ray Train empties
    every two seconds. So only checkpoints that are due by time and the last one are reported, and
    only when they are safely written: one is reported when the next one is due. What Ray Train
    keeps is a file that points to the checkpoint: the checkpoint itself must follow our own rules
    of retention, and Ray Train would fail over one that it knows and that is gone.
    """

    def __init__(self, saver: FolderSaver) -> None:
        self._saver = saver

    def save(self, tree: StateTree, about: Record) -> None:
        """Write ``tree`` in the background; every rank calls with the same ``why``."""
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
        if location is None:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, POINTER_FILE).write_text(json.dumps({"checkpoint": location}))
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
