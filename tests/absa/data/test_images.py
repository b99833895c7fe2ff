"""Images as a source: the right samples, augmented by their keys alone."""

import numpy as np
import pytest
import torch

from absa.data.augmentation import Augmentation
from absa.data.image_set import make_split
from absa.data.images import ImageSource
from absa.data.normalisation import Normalisation
from absa.data.resident import ResidentImages, keep_on_device
from absa.errors import ConfigError
from absa.order import SampleOrder
from absa.task import Source

_GREY, _COLOUR = Normalisation((0.2,), (0.3,)), Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


@pytest.fixture
def make_source(random_images):
    def make(shape=(6, 5, 3), augmentation=Augmentation(2, flip=True)):  # noqa: B008 (frozen)
        images, labels = random_images(50, shape)
        normalisation = _COLOUR if len(shape) == 3 else _GREY
        return ImageSource(make_split(images, "i", labels, "l"), normalisation, augmentation)

    return make


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3)])
def test_evaluation_gives_the_images_as_they_are(make_source, shape):
    source = make_source(shape if len(shape) == 2 or shape[2] == 3 else shape[:2])
    indices = np.array([3, 49, 3, 0])
    batch = source.transform(source.fetch(indices, None))
    stored = torch.from_numpy(source.split.images[indices]).permute(0, 3, 1, 2)
    assert torch.equal(batch["image"], source.normalisation.apply(stored))
    assert batch["image"].dtype == torch.float32
    assert batch["image"].is_contiguous(memory_format=torch.contiguous_format)
    assert batch["label"].tolist() == [3, 9, 3, 0]
    assert batch["label"].dtype == torch.int64


def test_it_is_a_source(make_source):
    assert isinstance(make_source(), Source)
    assert len(make_source()) == 50


def test_a_sample_depends_on_its_key_alone_not_on_its_batch(make_source):
    source, order = make_source(), SampleOrder(0, 50)
    indices, keys = order.indices(1, 0, 50), order.keys(1, 0, 50)
    whole = source.transform(source.fetch(indices, keys))["image"]
    part = source.transform(source.fetch(indices[20:23], keys[20:23]))["image"]
    assert torch.equal(whole[20:23], part)


def test_epochs_augment_differently(make_source):
    source, order, indices = make_source(), SampleOrder(0, 50), np.arange(50)
    one, other = (source.transform(source.fetch(indices, order.keys(e, 0, 50))) for e in (0, 1))
    assert not torch.equal(one["image"], other["image"])


def test_without_augmentation_keys_change_nothing(make_source):
    source, indices = make_source(augmentation=Augmentation()), np.arange(9)
    keyed = source.fetch(indices, SampleOrder(0, 9).keys(0, 0, 9))
    assert "placement" not in keyed
    assert torch.equal(keyed["image"], source.fetch(indices, None)["image"])


def test_every_fetched_tensor_has_samples_first(make_source):
    batch = make_source().fetch(np.arange(7), SampleOrder(0, 7).keys(0, 0, 7))
    assert {len(tensor) for tensor in batch.values()} == {7}


def test_mapped_images_are_not_copied(tmp_path, random_images):
    images, labels = random_images(20, (4, 4, 3))
    np.save(tmp_path / "x.npy", images)
    mapped = np.asarray(np.load(tmp_path / "x.npy", mmap_mode="r"))
    source = ImageSource(make_split(mapped, "i", labels, "l"), _COLOUR, Augmentation())
    assert np.shares_memory(source.split.images, mapped)
    assert np.shares_memory(source._rows, mapped)
    assert torch.equal(
        source.fetch(np.arange(20), None)["image"], torch.from_numpy(images).permute(0, 3, 1, 2)
    )


def test_indices_beyond_the_data_are_refused(make_source):
    with pytest.raises(IndexError):
        make_source().fetch(np.array([50]), None)


def test_crops_that_may_miss_the_image_are_refused(make_source):
    with pytest.raises(ConfigError, match=r"data\.crop_padding is 5, the images are 6x5.* 0 to 4"):
        make_source(augmentation=Augmentation(5))


def test_a_normalisation_for_other_channels_is_refused(random_images):
    images, labels = random_images(5, (4, 4, 3))
    with pytest.raises(ConfigError, match=r"data\.mean and data\.std have 1 numbers.* 3 channels"):
        ImageSource(make_split(images, "i", labels, "l"), _GREY, Augmentation())


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
@pytest.mark.parametrize("keyed", [False, True])
def test_images_on_the_device_give_the_same_batches(make_source, shape, keyed):
    source, order = make_source(shape), SampleOrder(0, 50)
    resident = ResidentImages(source, torch.device("cpu"))
    assert isinstance(resident, Source)
    assert len(resident) == 50
    indices, keys = order.indices(0, 5, 25), order.keys(0, 5, 25) if keyed else None
    expected = source.transform(source.fetch(indices, keys))
    found = resident.transform(resident.fetch(indices, keys))
    assert torch.equal(found["image"], expected["image"])
    assert torch.equal(found["label"], expected["label"])


def test_images_come_to_the_device_in_pieces(make_source, monkeypatch):
    source = make_source((6, 5, 3))
    whole = ResidentImages(source, torch.device("cpu"))
    monkeypatch.setattr("absa.data.resident.PIECE_BYTES", 7 * 6 * 5 * 3 + 1)
    assert torch.equal(ResidentImages(source, torch.device("cpu"))._rows, whole._rows)


def test_on_a_cpu_images_stay_where_they_are(make_source):
    source = make_source()
    assert keep_on_device(source, torch.device("cpu"), 10**9) is source


def test_images_beyond_the_budget_stay_on_the_host(make_source):
    source = make_source()
    assert keep_on_device(source, torch.device("cuda"), 50 * 6 * 5 * 3 - 1) is source
