"""A task that writes down what every worker computes on, and what that says of a run."""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from absa import Datasets
from absa.order import SampleOrder

NUM_TRAIN = 250


class Points:
    """Points in two classes; every batch knows which ones it has."""

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        # In double precision rounding does not grow into a difference that looks like a fault.
        self.x = torch.randn(size, 16, generator=generator, dtype=torch.float64)
        self.y = (self.x[:, 0] * self.x[:, 1] > 0).long()

    def __len__(self) -> int:
        return len(self.x)

    def fetch(self, indices, keys):
        places = torch.from_numpy(indices)
        return {"x": self.x[places], "y": self.y[places], "index": places}

    def transform(self, batch):
        return batch


class Witness:
    """Classifies points; each pass of each worker in a group leaves a line in ``folder``."""

    def __init__(self, folder: str, pace_s: float = 0.03) -> None:
        self.folder, self.pace_s = Path(folder), pace_s

    def build_model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(16, 32),
            nn.BatchNorm1d(32),
            nn.ReLU(),
            nn.Linear(32, 2),
        ).double()

    def datasets(self) -> Datasets:
        return Datasets(Points(NUM_TRAIN, 0), Points(60, 1))

    def losses(self, model, batch):
        # Curvature is measured in evaluation mode, on samples of its own.
        if model.training and "WORLD_SIZE" in os.environ:
            self._note(model, batch)
            time.sleep(self.pace_s)  # else there are thousands of updates until somebody joins
        return nn.functional.cross_entropy(model(batch["x"]), batch["y"], reduction="none")

    def metrics(self, model, batch):
        right = (model(batch["x"]).argmax(1) == batch["y"]).sum()
        return {"accuracy": right, "count": torch.tensor(len(batch["y"]))}

    def _note(self, model, batch) -> None:
        digest = hashlib.sha1()
        for tensor in model.state_dict().values():
            digest.update(tensor.detach().contiguous().numpy().tobytes())
        line = {
            "time": time.monotonic_ns(),
            "world_size": int(os.environ["WORLD_SIZE"]),
            "weights": digest.hexdigest(),
            "samples": batch["index"].tolist(),
        }
        with (self.folder / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Update:
    """What an update was made of; of one that had to be repeated, the last attempt."""

    world_size: int
    samples: tuple[int, ...]


def updates(folder: Path) -> list[Update]:
    """Return the updates along the lineage of the weights, oldest first.

    Two ranks whose weights or running statistics differ in a single bit at the same update count as
    two updates, each with a part of the samples: that all are whole says that they were equal.
    """
    lines = [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
        if line.endswith("}")
    ]
    by_weights: dict[str, list[dict]] = {}
    for line in sorted(lines, key=lambda line: line["time"]):
        by_weights.setdefault(line["weights"], []).append(line)
    found = []
    for attempts in by_weights.values():
        last = [a for a in attempts if a["world_size"] == attempts[-1]["world_size"]]
        samples = tuple(sorted(i for a in last for i in a["samples"]))
        found.append(Update(last[0]["world_size"], samples))
    return found


def ensure_exactly_once(found: list[Update], seed: int, *batches: int) -> None:
    """Fail unless all ranks had one state, and the samples came in the one global order.

    Args:
        found: What `updates` returned.
        seed: Of the order.
        batches: Those that were in force; at the end of an epoch an update is what is left.
    """
    order, samples = SampleOrder(seed, NUM_TRAIN), 0
    for number, update in enumerate(found):
        epoch, start = divmod(samples, NUM_TRAIN)
        stop = start + len(update.samples)
        assert len(update.samples) in batches or stop == NUM_TRAIN, f"update {number}: {update}"
        expected = np.sort(order.indices(epoch, start, stop)).tolist()
        assert list(update.samples) == expected, f"update {number}: {update}"
        samples += stop - start
