"""The seam through which a model and its data enter: one small class, the user's or built in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

Batch = Any
"""Tensors in any nesting of dicts, lists and tuples; the first dimension of each is samples."""


@runtime_checkable
class Source(Protocol):
    """Samples that are fetched many at a time."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def fetch(self, indices: NDArray[np.int64], keys: NDArray[np.uint64] | None) -> Batch:
        """Return the samples at ``indices`` on the host, in that order.

        Args:
            indices: Which samples, each in ``[0, len)``.
            keys: One random 64-bit word per sample, a function of (seed, epoch, position) alone:
                everything random about a sample must be derived from its key. None in evaluation:
                no augmentation.
        """
        ...

    def transform(self, batch: Batch) -> Batch:
        """Turn a fetched batch, already on the device, into what the model takes."""
        ...


@dataclass(frozen=True)
class Datasets:
    """What a task trains on and is judged by.

    Each is a `Source`, or any map-style data set (``__len__`` and ``__getitem__``): those are
    fetched sample by sample, which is slower.
    """

    train: Any
    evaluation: Any


class Task(Protocol):
    """A model, its data and its loss."""

    def build_model(self) -> nn.Module:
        """Return a new model; its initial weights come from torch's global random state."""
        ...

    def datasets(self) -> Datasets:
        """Return the training and the evaluation data."""
        ...

    def losses(self, model: nn.Module, batch: Batch) -> Float[Tensor, " samples"]:
        """Return one finite loss per sample, never reduced.

        It is called for training, curvature, noise scale and adversary alike, so it must depend on
        the model and the batch alone. A task whose samples do not weigh the same (token counts)
        also has ``weights(batch) -> Float[Tensor, " samples"]``; the loss of an update is then
        ``sum(weights * losses) / sum(weights)``. One whose inputs may be perturbed also has
        ``adversarial_inputs(batch) -> absa.adversary.inputs.Inputs``.
        """
        ...

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return sums over the batch, and under "count" what they are divided by.

        The engine adds each over batches and ranks and divides by the total count:
        ``{"accuracy": number_correct, "count": samples}``.
        """
        ...
