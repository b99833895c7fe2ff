"""A witness inside Ray Train, whose workers can be made to fail or to wait."""

import json
import os
import time

import ray.train
from witness import Witness

_NUM_TRIALS = 1
"""Passes of a worker in training mode before it trains: the warm-up."""


class RayWitness(Witness):
    """Notes as well what the process and Ray Train say of its place.

    Args:
        folder: As for a `Witness`. With a file ``broken`` in it new workers fail, with a file
            ``slow`` they leave a file ``waiting`` and wait until ``slow`` is gone.
        pace_s: Seconds for each pass.
    """

    def __init__(self, folder: str, pace_s: float = 0.03) -> None:
        super().__init__(folder, pace_s)
        self._num_passes = 0

    def build_model(self):
        if (self.folder / "broken").exists():
            raise KeyError("this worker cannot build the model")
        while (self.folder / "slow").exists():
            (self.folder / "waiting").touch()
            time.sleep(0.05)
        return super().build_model()

    def _note(self, model, batch) -> None:
        self._num_passes += 1
        if self._num_passes <= _NUM_TRIALS:
            return
        super()._note(model, batch)
        context = ray.train.get_context()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK")
        place = {
            "variables": [int(os.environ[name]) for name in names],
            "context": [
                context.get_world_rank(),
                context.get_world_size(),
                context.get_local_rank(),
                context.get_local_world_size(),
                context.get_node_rank(),
            ],
        }
        with (self.folder / f"{os.getpid()}.places").open("a") as file:
            file.write(json.dumps(place) + "\n")
