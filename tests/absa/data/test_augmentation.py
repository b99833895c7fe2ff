"""Crops and mirroring against one image at a time."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from absa.data.augmentation import Augmentation
from absa.order import SampleOrder


def _one_by_one(images, placements, padding):
    height, width = images.shape[2:]
    cut = []
    for image, (top, left, mirrored) in zip(images, placements.tolist(), strict=True):
        crop = F.pad(image, (padding,) * 4)[:, top : top + height, left : left + width]
        cut.append(crop.flip(-1) if mirrored else crop)
    return torch.stack(cut)


@given(
    seed=st.integers(0, 99),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    padding=st.integers(0, 4),
    flip=st.booleans(),
)
def test_a_batch_equals_its_images_one_by_one(seed, shape, padding, flip):
    images = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
    augmentation = Augmentation(padding, flip)
    placements = torch.from_numpy(augmentation.draw(SampleOrder(seed, 99).keys(0, 0, shape[0])))
    found = augmentation.apply(images, placements)
    assert torch.equal(found, _one_by_one(images, placements, padding))
    assert found.is_contiguous()


def test_channels_last_memory_gives_the_same():
    stored = torch.randint(0, 256, (4, 6, 5, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    augmentation = Augmentation(2, flip=True)
    placements = torch.tensor([[0, 4, 1], [4, 0, 0], [2, 2, 1], [1, 3, 0]])
    assert torch.equal(
        augmentation.apply(stored, placements), augmentation.apply(stored.contiguous(), placements)
    )


def test_the_middle_crop_is_the_image():
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    placements = torch.tensor([[4, 4, 0], [4, 4, 1]])
    found = Augmentation(4, flip=True).apply(images, placements)
    assert torch.equal(found[0], images[0])
    assert torch.equal(found[1], images[1].flip(-1))


def test_every_placement_is_equally_likely():
    placements = Augmentation(1, flip=True).draw(SampleOrder(0, 18000).keys(0, 0, 18000))
    _, counts = np.unique(placements, axis=0, return_counts=True)
    assert len(counts) == 18
    assert ((counts - 1000) ** 2 / 1000).sum() < 17 + 5 * np.sqrt(2 * 17)


@pytest.mark.parametrize(
    ("augmentation", "drawn"),
    [
        (Augmentation(), [0, 0, 0]),
        (Augmentation(3), [1, 1, 0]),
        (Augmentation(flip=True), [0, 0, 1]),
    ],
)
def test_only_what_is_asked_for_is_drawn(augmentation, drawn):
    placements = augmentation.draw(SampleOrder(0, 100).keys(0, 0, 100))
    assert (np.ptp(placements, axis=0) > 0).tolist() == [bool(d) for d in drawn]
    assert bool(augmentation) == any(drawn)
