"""How much is trained: the network, how long, up to which batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NUM_TRAIN = 50_000
"""Images of CIFAR-10."""
FIRST_BATCH = 128
"""Where all adaptive arms begin, what learning rates are meant for, and a batch-norm group."""


@dataclass(frozen=True)
class Size:
    """One setting; the learning rate falls at the same shares of every one.

    Args:
        name: Of the form of the benchmark.
        model: The job's section.
        epochs: Of every arm but the shortened one.
        max_batch: The largest batch, and that of the arms with a large one.
        micro_batch: Most samples at once through the model.
        seeds: If no others are asked for.
    """

    name: str
    model: Mapping[str, Any]
    epochs: float
    max_batch: int
    micro_batch: int
    seeds: tuple[int, ...]

    @property
    def tuning_seed(self) -> int:
        """The seed that learning rates are tuned on."""
        return self.seeds[0]

    @property
    def updates_at_first_batch(self) -> float:
        """Updates of an epoch at `FIRST_BATCH`; the last one of each is smaller."""
        return -(-NUM_TRAIN // FIRST_BATCH)


_SMALL = {"name": "benchmarks.fewer_updates.network:three_convolutions"}

SIZES = {
    "quick": Size("quick", _SMALL, 2, 1024, 128, (0,)),
    # 183 updates at the largest batch; the full size has 275.
    "usual": Size("usual", _SMALL, 15, 4096, 128, (0, 1, 2)),
    "full": Size("full", {"name": "resnet20"}, 90, 16_384, 2048, (0, 1, 2)),
}
