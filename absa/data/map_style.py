"""Map-style data sets as a `Source`: any ``__len__`` and ``__getitem__``, sample by sample."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, default_collate

from absa.errors import TaskError
from absa.task import Batch, Source


@runtime_checkable
class MapStyle(Protocol):
    """What `torch.utils.data` calls a map-style data set."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return one sample: tensors, arrays and numbers in any nesting."""
        ...


class MapStyleSource:
    """The samples of a map-style data set, collated as `torch.utils.data.DataLoader` does.

    A data set with ``__getitems__(indices)`` is asked for a whole batch. Keys are not passed on: a
    data set that augments draws from random states of its own, which resuming cannot restore.

    Args:
        dataset: Its samples must collate into tensors.
    """

    def __init__(self, dataset: MapStyle) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def fetch(self, indices: NDArray[np.int64], keys: NDArray[np.uint64] | None) -> Batch:
        """Return the collated samples at ``indices``; see `absa.task.Source`.

        Raises:
            TaskError: The samples do not collate.
        """
        samples = self._samples(indices.tolist())
        try:
            return default_collate(samples)
        except (RuntimeError, TypeError, KeyError) as error:
            raise TaskError(
                f"samples of {type(self.dataset).__name__} do not form a batch: {error}. Samples "
                "must be tensors, arrays or numbers of equal shapes in equal nestings"
            ) from error

    def transform(self, batch: Batch) -> Batch:
        """Return the batch as it is."""
        return batch

    def _samples(self, indices: list[int]) -> list[Any]:
        fetch_many = getattr(self.dataset, "__getitems__", None)
        if fetch_many is not None:
            return list(fetch_many(indices))
        return [self.dataset[index] for index in indices]


def as_source(dataset: object) -> Source:
    """Return the data as a `Source`; a map-style data set is wrapped.

    Raises:
        TaskError: It is neither, or has no samples.
    """
    if isinstance(dataset, Source):
        source: Source = dataset
    elif isinstance(dataset, MapStyle) and not isinstance(dataset, IterableDataset):
        source = MapStyleSource(dataset)
    else:
        raise TaskError(
            f"task.datasets gave a {type(dataset).__name__}; allowed: a map-style data set "
            "(__len__ and __getitem__) or an absa.task.Source (__len__, fetch, transform)"
        )
    if len(source) == 0:
        raise TaskError(f"task.datasets gave a {type(dataset).__name__} without samples")
    return source
