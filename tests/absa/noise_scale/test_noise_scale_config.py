import pytest
from pydantic import ValidationError

from absa.noise_scale.config import NoiseScaleConfig


def test_the_window_is_200_updates_at_the_first_batch_unless_set():
    assert NoiseScaleConfig().window(50_000, 64) == 12_800
    assert NoiseScaleConfig(window_epochs=0.5).window(50_000, 64) == 25_000
    assert NoiseScaleConfig(window_samples=999).window(50_000, 64) == 999


def test_it_can_be_switched_off():
    assert NoiseScaleConfig(every_updates=None).every_updates is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_epochs": 1, "window_samples": 10},
        {"every_updates": 0},
        {"window_samples": 0},
        {"window_epochs": 0},
        {"confidence": 1},
        {"confidence": 90},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        NoiseScaleConfig(**wrong)
