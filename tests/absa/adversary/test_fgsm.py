"""One signed step, in the inputs' own unit and inside their range."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.adversary.fgsm import fgsm
from absa.adversary.inputs import Inputs
from absa.data.normalisation import Normalisation, image_range

CIFAR = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
SEEDS = st.integers(0, 1000)


def images(pixels):
    """Return pixels from 0 to 1 as what a model takes."""
    unit, lowest, highest = (t.double() for t in image_range(CIFAR, torch.device("cpu")))
    values = (lowest + pixels * unit).clamp(lowest, highest)  # white may be off by rounding
    return Inputs(values, unit, lowest, highest, put=lambda values: values)


def pixels(inputs, values):
    return (values - inputs.lowest) / inputs.unit


def drawn(seed, shape=(4, 3, 5, 5)):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))


@settings(max_examples=20)
@given(seed=SEEDS, eps=st.sampled_from([0.005, 0.1, 1.0]))
def test_normalised_images_move_as_pixels_from_0_to_1_do(seed, eps):
    before, gradient = drawn(seed)
    gradient = gradient - 0.5
    inputs = images(before)
    by_hand = (before + eps * torch.sign(gradient)).clamp(0, 1)
    torch.testing.assert_close(pixels(inputs, fgsm(inputs, gradient, eps)), by_hand)


@settings(max_examples=40)
@given(seed=SEEDS, eps=st.floats(0, 10), scale=st.floats(1e-30, 1e30))
def test_values_stay_in_their_range_and_near_where_they_were(seed, eps, scale):
    before, gradient = drawn(seed)
    inputs = images(before.round(decimals=1))  # 0 and 1 among them
    moved = fgsm(inputs, (gradient - 0.5) * scale, eps)
    assert (moved >= inputs.lowest).all()
    assert (moved <= inputs.highest).all()
    reach = eps * inputs.unit * (1 + 1e-12) + 1e-12
    assert ((moved - inputs.values).abs() <= reach).all()


def test_without_a_gradient_or_a_step_nothing_moves():
    before, gradient = drawn(0)
    inputs = images(before)
    for moved in (fgsm(inputs, torch.zeros_like(before), 0.1), fgsm(inputs, gradient, 0.0)):
        torch.testing.assert_close(moved, inputs.values, rtol=0, atol=1e-15)


def test_values_without_bounds_move_by_exactly_one_step():
    infinity = torch.tensor(torch.inf)
    zero = torch.zeros(2, 3)
    inputs = Inputs(zero, torch.tensor(2.0), -infinity, infinity, put=lambda values: values)
    gradient = torch.tensor([[1e-30, -3.0, 0.0], [5.0, -1e30, -1e-30]])
    expected = torch.tensor([[0.5, -0.5, 0.0], [0.5, -0.5, -0.5]])
    torch.testing.assert_close(fgsm(inputs, gradient, 0.25), expected)


def test_values_keep_their_type():
    single = images(torch.zeros(2, 3, 4, 4))
    half = Inputs(single.values.half(), single.unit, single.lowest, single.highest, single.put)
    assert fgsm(half, torch.ones(2, 3, 4, 4).half(), 0.1).dtype == torch.float16
