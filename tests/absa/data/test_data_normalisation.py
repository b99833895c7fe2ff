"""From bytes to what a model takes, and back to pixel steps."""

import numpy as np
import pytest
import torch

from absa.data.normalisation import Normalisation, measure

_CIFAR = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def test_pixels_are_centred_and_scaled_by_channel():
    pixels = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8)
    mean, std = (
        torch.tensor(c, dtype=torch.float64).view(3, 1, 1) for c in (_CIFAR.mean, _CIFAR.std)
    )
    slow = (pixels.double() / 255 - mean) / std
    torch.testing.assert_close(_CIFAR.apply(pixels).double(), slow, rtol=1e-6, atol=1e-6)


def test_any_memory_order_gives_contiguous_images():
    stored = torch.randint(0, 256, (5, 4, 6, 3), dtype=torch.uint8)
    images = _CIFAR.apply(stored.permute(0, 3, 1, 2))
    assert images.is_contiguous()
    assert torch.equal(images, _CIFAR.apply(stored.permute(0, 3, 1, 2).contiguous()))


def test_bytes_are_left_alone():
    pixels = torch.full((1, 3, 2, 2), 7, dtype=torch.uint8)
    _CIFAR.apply(pixels)
    assert (pixels == 7).all()


def test_range_and_steps_say_what_pixels_become():
    ends = torch.tensor([0, 1, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 1, 1)
    low, one, high = _CIFAR.apply(ends).flatten(1)
    torch.testing.assert_close(low, torch.tensor(_CIFAR.lowest))
    torch.testing.assert_close(high, torch.tensor(_CIFAR.highest))
    torch.testing.assert_close(one - low, torch.tensor(_CIFAR.per_pixel_step))


def test_measured_images_have_mean_0_and_deviation_1():
    images = np.random.default_rng(0).integers(0, 200, (300, 5, 4, 2), dtype=np.uint8)
    images[..., 1] //= 3
    found = measure(images).apply(torch.from_numpy(images).permute(0, 3, 1, 2)).double()
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(2).double(), rtol=0, atol=1e-5)
    deviation = found.std((0, 2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.ones(2).double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("pixel", [0, 255])
def test_a_constant_channel_is_only_centred(pixel):
    found = measure(np.full((3, 2, 2, 1), pixel, dtype=np.uint8))
    assert found == Normalisation((pixel / 255,), (1.0,))


def test_a_large_set_is_sampled_evenly():
    images = np.zeros((10000, 1, 1, 1), dtype=np.uint8)
    images[5000:] = 255
    assert measure(images).mean[0] == pytest.approx(0.5, abs=1e-3)
