"""Map-style data sets through the source seam."""

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset, default_collate

from absa.data.map_style import MapStyleSource, as_source
from absa.errors import TaskError

_KEYS = np.zeros(3, dtype=np.uint64)


class _Nested:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"x": (np.full(2, index, dtype=np.float32), torch.tensor(index)), "y": index}


class _Many(_Nested):
    asked = None

    def __getitem__(self, index):
        raise AssertionError("asked one by one")

    def __getitems__(self, indices):
        self.asked = indices
        return [_Nested.__getitem__(self, index) for index in indices]


@pytest.mark.parametrize("dataset", [_Nested(), _Many()], ids=["one by one", "at once"])
def test_samples_are_collated_in_order(dataset):
    source = as_source(dataset)
    batch = source.transform(source.fetch(np.array([2, 0, 2]), _KEYS))
    assert batch["y"].tolist() == [2, 0, 2]
    assert batch["x"][0].tolist() == [[2, 2], [0, 0], [2, 2]]
    assert batch["x"][1].tolist() == [2, 0, 2]
    assert len(source) == 4


def test_plain_integers_are_asked_for():
    dataset = _Many()
    as_source(dataset).fetch(np.array([1, 3]), None)
    assert dataset.asked == [1, 3]
    assert all(type(index) is int for index in dataset.asked)


def test_tensor_datasets_give_what_a_loader_gives():
    dataset = TensorDataset(torch.arange(6.0).view(3, 2), torch.arange(3))
    found = as_source(dataset).fetch(np.array([2, 1]), None)
    for ours, theirs in zip(found, default_collate([dataset[2], dataset[1]]), strict=True):
        assert torch.equal(ours, theirs)


def test_a_source_is_taken_as_it_is():
    source = MapStyleSource(_Nested())
    assert as_source(source) is source


class _NoLength(Dataset):
    def __getitem__(self, index):
        return index


class _Stream(IterableDataset):
    def __len__(self):
        return 3

    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize("dataset", [_NoLength(), _Stream(), 7, iter([1])])
def test_what_is_no_data_set_is_refused(dataset):
    with pytest.raises(TaskError, match=f"gave a {type(dataset).__name__}; allowed"):
        as_source(dataset)


def test_an_empty_data_set_is_refused():
    with pytest.raises(TaskError, match="without samples"):
        as_source([])


@pytest.mark.parametrize(
    "samples", [[torch.zeros(2), torch.zeros(3)], [object(), object()], [{"a": 1}, {"b": 1}]]
)
def test_samples_that_do_not_form_a_batch_are_named(samples):
    with pytest.raises(TaskError, match="samples of list do not form a batch"):
        as_source(samples).fetch(np.array([0, 1]), None)
